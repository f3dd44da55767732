/** A list that begins with what is newest, and takes in by itself what comes: what was shown stays. */

import { get } from './api.js'
import { Children, h, setText } from './dom.js'

/** What a search costs is more than what one device costs. */
const EVERY_S = 10
const HELD_MS = 5_000

/**
 * Return what is shown once *fresh*, the first page as it is now, is taken in: {rows, following}.
 *
 * What stood below the last row of that page stays below it. Where none of its rows was known, a gap lies
 * between, and nothing stays.
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
  return below.length ? { rows: [...fresh.rows, ...below], following: known.following } : fresh
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
    this.shown = null
    this.held = null
    this.asking?.abort()
    this.refresh()
  }

  /** Ask what is newest, and take it in. */
  async step(signal) {
    const { query } = this
    const { body } = await get(this.path, query, { signal })
    if (query !== this.query) return
    const fresh = { rows: body[this.name], following: body.next ?? null }
    if (this.shown && performance.now() - this.movedAt < HELD_MS) this.held = fresh
    else this.take(fresh)
  }

  take(fresh) {
    this.held = null
    // Who listens hears what was asked for, and not each recording that comes.
    this.said.setAttribute('aria-live', this.shown ? 'off' : 'polite')
    this.show(this.shown ? joined(this.shown, fresh, this.key) : fresh)
  }

  release() {
    this.movedAt = -Infinity
    if (this.held) this.take(this.held)
  }

  async askMore() {
    this.asking?.abort()
    const asking = new AbortController()
    this.asking = asking
    const { query } = this
    try {
      const { body } = await get(this.path, { ...query, cursor: this.shown.following }, { signal: asking.signal })
      const known = new Set(this.shown.rows.map(this.key))
      const rows = [...this.shown.rows, ...body[this.name].filter((row) => !known.has(this.key(row)))]
      this.said.setAttribute('aria-live', 'polite')
      this.show({ rows, following: body.next ?? null })
    } catch (error) {
      if (asking.signal.aborted) return
      setText(this.said, error.message)
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
    this.shown = null
    setText(this.said, error.message)
    this.items.show([])
    this.more.hidden = true
    return true
  }

  close() {
    this.asking?.abort()
  }
}
