/** A list that begins with what is newest, and takes in by itself what comes: what was shown stays. */

import { get, reason } from './api.js'
import { Children, h, setText } from './dom.js'

/** What a search costs is more than what one device costs. */
const EVERY_S = 10
const HELD_MS = 5_000
/** A list that is left open for days does not grow for days. */
const MOST = 1_000

/**
 * Return what is shown once *fresh*, the first page as it is now, is taken in: {rows, following}.
 *
 * What stood below the last row of that page stays below it. Where none of its rows was known, a gap lies
 * between, and nothing stays; neither does it where it is too much.
 * @param {{rows: object[], following: ?string}} known
 * @param {{rows: object[], following: ?string}} fresh
 * @param {(row: object) => string} key
 */
export function joined(known, fresh, key) {
  const keys = new Set(fresh.rows.map(key))
  const places = new Map(known.rows.map((row, at) => [key(row), at]))
  const last = fresh.rows.findLast((row) => places.has(key(row)))
  if (!last) return fresh
  const below = known.rows.slice(places.get(key(last)) + 1).filter((row) => !keys.has(key(row)))
  return below.length && below.length < MOST ? { rows: [...fresh.rows, ...below], following: known.following } : fresh
}

export class Newest {
  /**
   * @param {string} path what is asked
   * @param {string} name under which the answer has its rows
   * @param {object} of
   * @param {Element} of.list
   * @param {(row: object) => string} of.key
   * @param {(row: object) => {node: Element, update?: (row: object) => void}} of.item
   * @param {(count: number, hasMore: boolean, query: object) => string} of.sentence
   * @param {() => void} of.refresh asks at once
   */
  constructor(path, name, { list, key, item, sentence, refresh }) {
    this.path = path
    this.name = name
    this.key = key
    this.sentence = sentence
    this.refresh = refresh
    this.everyS = EVERY_S
    this.list = list
    this.items = new Children(list, key, item)
    this.said = h('p', { class: 'summary', role: 'status' }, 'Asking the server…')
    this.more = h('button', { type: 'button', hidden: true, on: { click: () => this.askMore() } }, 'Show more')
    // What somebody is about to press does not move away under the pointer; one that rests holds nothing.
    this.movedAt = -Infinity
    this.held = null
    list.addEventListener('pointermove', () => { this.movedAt = performance.now() })
    list.addEventListener('pointerleave', () => this.release())
  }

  /** Look for something else, and show it alone. */
  ask(query) {
    this.query = query
    this.forget()
    this.refresh()
  }

  /** What is on its way, and what "Show more" would ask for, belong to what was looked for before. */
  forget() {
    this.asking?.abort()
    this.shown = this.held = null
    this.isLong = false
    this.more.hidden = true
  }

  async page(query, signal) {
    const { body } = await get(this.path, query, { signal })
    return { rows: [...body[this.name]], following: body.next ?? null }
  }

  /** Ask what is newest, and take it in. */
  async step(signal) {
    const { query } = this
    const fresh = await this.page(query, signal)
    if (query !== this.query) return
    if (this.shown && performance.now() - this.movedAt < HELD_MS) this.held = fresh
    else this.take(fresh)
  }

  take(fresh) {
    this.held = null
    // Who listens hears what was asked for, and not each recording that comes.
    this.said.setAttribute('aria-live', this.shown ? 'off' : 'polite')
    this.show(this.isLong ? joined(this.shown, fresh, this.key) : fresh)
  }

  release() {
    this.movedAt = -Infinity
    if (this.held) this.take(this.held)
  }

  async askMore() {
    this.asking?.abort()
    const asking = new AbortController()
    this.asking = asking
    this.isLong = true
    try {
      const { rows, following } = await this.page({ ...this.query, cursor: this.shown.following }, asking.signal)
      const known = new Set(this.shown.rows.map(this.key))
      this.said.setAttribute('aria-live', 'polite')
      this.show({ rows: [...this.shown.rows, ...rows.filter((row) => !known.has(this.key(row)))], following })
    } catch (error) {
      if (asking.signal.aborted) return
      setText(this.said, reason(error))
      if (error.status === 401) this.refresh()
    }
  }

  show(shown) {
    this.shown = shown
    this.items.show(shown.rows)
    this.more.hidden = !shown.following
    setText(this.said, this.sentence(shown.rows.length, Boolean(shown.following), this.query))
  }

  /** Say what is wrong with what is looked for: asking again does not help. */
  refused(error) {
    if (!(error.status >= 400)) return false
    this.forget()
    setText(this.said, error.message)
    this.items.show([])
    return true
  }

  close() {
    this.asking?.abort()
  }
}
