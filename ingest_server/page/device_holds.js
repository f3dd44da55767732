/** What a device has, sent or not, and asking for it: "fetch". */

import { devicePath, get, reason } from './api.js'
import { Children, announce, h, named, setText, time } from './dom.js'
import { bytes, count, counted } from './text.js'
import { reasonWord, stateWord } from './words.js'
import { dayEnd, dayStart } from './days.js'

export class DeviceHolds {
  constructor(commands) {
    this.commands = commands
    this.list = h('ul', { class: 'files' })
    this.items = new Children(this.list, (file) => file.file_id, (file) => this.item(file))
    this.said = h('p', { class: 'none', role: 'status' })
    this.more = h('button', { type: 'button', class: 'quiet', hidden: true, on: { click: () => this.ask(this.next) } }, 'Show more')
    this.node = h('section', { class: 'card', 'aria-label': 'What it holds' }, h('h2', {}, 'What it holds'), this.form(), this.said, this.list, this.more)
    this.rows = []
  }

  form() {
    this.pattern = h('input', { id: 'holds-q', type: 'search', placeholder: 'part of the name', maxlength: '200', autocomplete: 'off' })
    this.from = h('input', { id: 'holds-from', type: 'date' })
    this.to = h('input', { id: 'holds-to', type: 'date' })
    this.metered = h('input', { id: 'holds-metered', type: 'checkbox' })
    this.all = this.commands.button('Fetch all that fit', 'fetch', () => this.fetchAll())
    return h('form', { class: 'filter', on: { submit: (event) => { event.preventDefault(); this.ask(null) } } },
      field('Name', this.pattern), field('From', this.from), field('To', this.to),
      h('button', { type: 'submit' }, 'Find'), this.all,
      h('label', { class: 'check', for: 'holds-metered' }, this.metered, ' fetch over a metered link as well'))
  }

  query() {
    return { q: this.pattern.value.trim(), from: dayStart(this.from.value), to: dayEnd(this.to.value) }
  }

  /** What is asked for last is shown, whichever answer comes last. */
  async ask(cursor) {
    this.asking?.abort()
    const asking = new AbortController()
    this.asking = asking
    try {
      const { body } = await get(`${devicePath(this.commands.device)}/holds`, { ...this.query(), cursor }, { signal: asking.signal })
      this.rows = cursor ? [...this.rows, ...body.holds] : body.holds
      this.next = body.next ?? null
      this.items.show(this.rows)
      this.more.hidden = !this.next
      setText(this.said, this.sentence(body))
    } catch (error) {
      if (!asking.signal.aborted) setText(this.said, reason(error))
    }
  }

  sentence({ count: all, is_full: isFull }) {
    if (!all) return 'The device has not told yet what it has.'
    if (!this.rows.length) return `Nothing fits of the ${counted(all, 'recording')} that it has told of.`
    const more = isFull ? '; it has more than are kept here' : ''
    return `${count(this.rows.length)}${this.next ? ' so far' : ''} of ${counted(all, 'recording')}, newest first${more}.`
  }

  /** Ask for all that fits; the answer is told by the command's own line. */
  fetchAll() {
    const { q, from, to } = this.query()
    if (!q && !from && !to) {
      announce('Say which: a name or a time.', 'warn')
      this.pattern.focus()
      return null
    }
    return fetchArguments({ name: q, from, to }, this.metered.checked)
  }

  item(file) {
    const button = this.commands.button('Fetch', 'upload_now', () => ({ file_id: file.file_id, metered: this.metered.checked }), file.name)
    const why = h('span', { class: 'why' })
    const place = file.folder && file.folder !== '.' ? h('span', { class: 'folder' }, named(file.folder), '/') : null
    return {
      node: h('li', {}, h('div', { class: 'what' }, h('span', { class: 'path' }, place, named(file.name, { class: 'file' })), h('span', { class: 'size' }, bytes(file.length), ' · ', time(file.mtime_s)), why), button),
      update: (one) => {
        setText(why, one.reason ? reasonWord(one.reason) : stateWord(one.state))
        button.hidden = ['verified', 'kept', 'released'].includes(one.state)
      },
    }
  }

  show({ row, can }) {
    this.node.hidden = row.presence === 'never' || !can?.length
    if (!this.asked && !this.node.hidden) {
      this.asked = true
      this.ask(null)
    }
  }
}

/** Return the arguments of a fetch: the name is a part of one, as in what was found, and no pattern or two of them. */
export function fetchArguments({ name, from, to }, isMetered) {
  const query = {}
  if (name) query.name = `*${name.replace(/[*?[]/g, '[$&]').replaceAll('|', '?')}*`
  if (from) query.from = from
  if (to) query.to = to
  return { query, metered: isMetered }
}

function field(label, input) {
  return h('label', { for: input.id }, h('span', {}, label), input)
}
