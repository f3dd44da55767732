/** The table of the fleet: sorted by trouble or as somebody wishes, searched, in pages. */

import { Children, attribute, h, named, setText, setTime, time } from './dom.js'
import { FILTERS, ORDERS, matches, oldestSince, sorted } from './rows.js'
import { bytes, count, counted, duration, milliseconds, percent, rate, share, UNKNOWN } from './text.js'
import { PRESENCE, PRESENCE_MEANS, isSaidBy, problem, reasonWord, stateWord } from './words.js'

const PAGE = 50

const COLUMNS = [
  ['device', 'Device', 'name'],
  ['state', 'State', 'state'],
  ['pending', 'Pending', 'number'],
  ['oldest', 'Oldest', 'number'],
  ['failed', 'Failed', 'number'],
  ['rate', 'Rate', 'number'],
  ['rtt', 'Link', 'link'],
  ['disk', 'Free', 'number'],
  ['seen', 'Last seen', 'number'],
  ['availability', '7 days', 'number', 'Availability in the last 7 days'],
  ['version', 'Version', 'version'],
]

const FILTER_WORDS = { online: 'online', late: 'late', offline: 'offline', pending: 'with something pending', failed: 'with failures', oldest: 'with something pending, oldest first', told: 'of which people were told' }

export class FleetTable {
  constructor({ onFilter }) {
    this.onFilter = onFilter
    this.order = 'trouble'
    this.isDescending = true
    this.filter = null
    this.page = 0
    this.rows = []
    this.isHeld = false
    this.heads = new Map()
    this.body = h('tbody', { role: 'rowgroup' })
    this.children = new Children(this.body, (row) => row.device, (row) => new Row(row))
    this.node = this.build()
  }

  build() {
    this.search = h('input', { type: 'search', id: 'search', placeholder: 'name, state, problem …', autocomplete: 'off', spellcheck: 'false', maxlength: '200', on: { input: () => this.searched() } })
    this.byTrouble = h('button', { type: 'button', class: 'quiet', on: { click: () => this.sortBy('trouble') } }, 'Sort by trouble')
    this.summary = h('p', { class: 'summary', role: 'status' })
    this.earlier = h('button', { type: 'button', class: 'quiet', on: { click: () => this.turn(-1) } }, 'Previous')
    this.later = h('button', { type: 'button', class: 'quiet', on: { click: () => this.turn(1) } }, 'Next')
    this.where = h('span', {})
    this.pages = h('nav', { class: 'pages', 'aria-label': 'Pages of the table' }, this.earlier, this.where, this.later)
    const heads = COLUMNS.map((column) => this.head(column))
    const table = h('table', { role: 'table', class: 'devices', 'aria-label': 'Devices' }, h('thead', { role: 'rowgroup' }, h('tr', { role: 'row' }, heads)), this.body)
    // What somebody is about to press does not move away under the pointer.
    table.addEventListener('pointerenter', () => { this.isHeld = true })
    table.addEventListener('pointerleave', () => { this.isHeld = false; this.draw() })
    this.scroller = h('div', { class: 'scroller', role: 'region', 'aria-label': 'Table of devices', tabindex: '0' }, table)
    // Where a column has no room there is no head to press.
    this.orders = h('select', { id: 'order', on: { change: () => this.sortBy(this.orders.value) } }, [['trouble', 'Trouble'], ...COLUMNS].map(([order, label, , long]) => h('option', { value: order }, long ?? label)))
    const order = h('span', { class: 'order' }, h('label', { for: 'order' }, 'Sort by'), this.orders)
    const tools = h('div', { class: 'tools' }, h('label', { for: 'search' }, 'Search'), this.search, order, this.byTrouble, this.summary)
    return h('section', { class: 'table', 'aria-label': 'Devices' }, tools, this.scroller, this.pages)
  }

  head([order, label, kind, long]) {
    const button = h('button', { type: 'button', title: long ?? null, on: { click: () => this.sortBy(order) } }, label)
    const cell = h('th', { role: 'columnheader', scope: 'col', class: `${kind} c-${order}` }, button)
    this.heads.set(order, cell)
    return cell
  }

  /** Take over what the address says: #/?sort=seen&down=1&show=late&q=drone */
  setQuery(query) {
    const sort = query.get('sort')
    this.order = Object.hasOwn(ORDERS, sort ?? '') ? sort : 'trouble'
    this.isDescending = query.has('down') ? query.get('down') === '1' : ORDERS[this.order][1]
    const filter = query.get('show')
    this.filter = Object.hasOwn(FILTERS, filter ?? '') ? filter : null
    this.search.value = query.get('q') ?? ''
    this.page = 0
    this.draw(true)
  }

  remember() {
    const query = new URLSearchParams()
    if (this.order !== 'trouble' || !this.isDescending) {
      query.set('sort', this.order)
      query.set('down', this.isDescending ? '1' : '0')
    }
    if (this.filter) query.set('show', this.filter)
    if (this.search.value) query.set('q', this.search.value)
    const text = query.toString()
    history.replaceState(null, '', text ? `#/?${text}` : '#/')
  }

  sortBy(order) {
    this.isDescending = this.order === order && order !== 'trouble' ? !this.isDescending : ORDERS[order][1]
    this.order = order
    this.changed()
  }

  setFilter(filter) {
    this.filter = filter
    if (filter === 'oldest') [this.order, this.isDescending] = ['oldest', true]
    this.changed()
  }

  searched() {
    this.changed()
  }

  changed() {
    this.page = 0
    this.remember()
    this.onFilter(this.filter)
    this.draw(true)
  }

  turn(by) {
    this.page += by
    this.draw(true)
    this.scroller.scrollIntoView({ block: 'start' })
  }

  show(rows) {
    this.rows = rows
    this.draw()
  }

  draw(isAsked = false) {
    const fits = this.filter ? FILTERS[this.filter] : () => true
    const search = this.search.value
    let found = this.rows.filter((row) => fits(row) && matches(row, search))
    if (this.isHeld && !isAsked && this.drawn) found = inOrderOf(found, this.drawn)
    else found = sorted(found, this.order, this.isDescending)
    this.drawn = found.map((row) => row.device)
    const pages = Math.max(1, Math.ceil(found.length / PAGE))
    this.page = Math.min(Math.max(0, this.page), pages - 1)
    const start = this.page * PAGE
    this.children.show(found.slice(start, start + PAGE))
    for (const [order, cell] of this.heads) {
      attribute(cell, 'aria-sort', order === this.order ? (this.isDescending ? 'descending' : 'ascending') : null)
    }
    this.byTrouble.hidden = this.order === 'trouble'
    this.orders.value = this.order
    this.say(found.length)
    this.pages.hidden = pages === 1
    this.earlier.disabled = this.page === 0
    this.later.disabled = this.page === pages - 1
    setText(this.where, `${count(start + 1)} to ${count(Math.min(start + PAGE, found.length))} of ${count(found.length)}`)
  }

  say(shown) {
    const all = this.rows.length
    let text = `${counted(all, 'device')}${this.order === 'trouble' ? ', by trouble' : ''}`
    if (this.filter || this.search.value) text = `${count(shown)} of ${counted(all, 'device')}${this.filter ? `, ${FILTER_WORDS[this.filter]}` : ''}`
    if (!shown && all) text += '. None fits: empty the search, or press the figure again.'
    setText(this.summary, text)
  }
}

/** Keep the order that is shown; what is new comes last. */
function inOrderOf(rows, names) {
  const places = new Map(names.map((name, at) => [name, at]))
  return rows.sort((a, b) => (places.get(a.device) ?? Infinity) - (places.get(b.device) ?? Infinity))
}

class Row {
  constructor(row) {
    this.cells = new Map(COLUMNS.map(([key, , kind]) => [key, h(key === 'device' ? 'th' : 'td', { role: key === 'device' ? 'rowheader' : 'cell', scope: key === 'device' ? 'row' : null, class: `${kind} c-${key}` })]))
    this.lamp = h('span', { class: 'presence' })
    this.presence = h('span', { class: 'presence-word' })
    this.cells.get('device').append(this.lamp, h('a', { href: `#/device/${encodeURIComponent(row.device)}` }, named(row.device)), this.presence)
    this.state = h('span', { class: 'word' })
    this.file = h('bdi', { dir: 'auto', class: 'file' })
    this.progress = h('progress', { max: '100', 'aria-label': 'Acknowledged of the current recording' })
    this.chips = h('span', { class: 'chips' })
    this.detail = h('span', { class: 'detail' }, this.file, this.progress)
    this.cells.get('state').append(this.state, this.chips, this.detail)
    this.problems = new Children(this.chips, (code) => code, (code) => {
      const { word, means } = problem(code)
      return { node: h('span', { class: 'chip', title: means }, word) }
    })
    this.seen = time(null, 'age')
    this.cells.get('seen').append(this.seen)
    this.oldest = time(null, 'span')
    this.cells.get('oldest').append(this.oldest)
    this.node = h('tr', { role: 'row' }, [...this.cells.values()])
  }

  update(row) {
    if (row === this.row) return
    this.row = row
    attribute(this.node, 'data-presence', row.presence)
    setText(this.presence, PRESENCE[row.presence] ?? String(row.presence))
    attribute(this.cells.get('device'), 'title', PRESENCE_MEANS[row.presence] ?? null)
    this.showState(row)
    const told = row.notices?.length ? ['people_told'] : []
    this.problems.show([...(row.problems ?? []).filter((code) => !isSaidBy(row.blocked_by, code)), ...told])
    this.put('pending', row.pending_files ? bytes(row.pending_bytes) : row.pending_files === 0 ? '0' : UNKNOWN, row.pending_files ? counted(row.pending_files, 'file') : '')
    const oldest = oldestSince(row)
    setTime(this.oldest, oldest === null ? null : oldest / 1000, 'span')
    this.put('failed', count(row.failed))
    attribute(this.cells.get('failed'), 'data-tone', row.failed > 0 ? 'bad' : null)
    this.put('rate', row.rate_bytes_per_s ? rate(row.rate_bytes_per_s) : UNKNOWN, row.eta_s ? `${duration(row.eta_s)} left` : '')
    const { iface, metered, rtt_ms: rtt } = row.link ?? {}
    this.put('rtt', iface ?? UNKNOWN, [metered ? 'metered' : '', rtt ? milliseconds(rtt) : ''].filter(Boolean).join(', '))
    this.put('disk', bytes(row.disk?.free))
    setTime(this.seen, row.last_seen, 'age')
    this.put('availability', share(row.availability_7d))
    this.put('version', row.version ?? UNKNOWN)
  }

  showState(row) {
    const isHere = row.presence === 'online' || row.presence === 'late'
    const word = row.blocked_by && !['paused', 'uploading'].includes(row.state) ? reasonWord(row.blocked_by) : row.state ? stateWord(row.state) : UNKNOWN
    setText(this.state, isHere || !row.state ? word : `last: ${word}`)
    attribute(this.cells.get('state'), 'data-state', isHere ? row.state : 'gone')
    attribute(this.cells.get('state'), 'title', row.blocked_detail)
    const current = row.current
    this.detail.hidden = !current
    if (!current) return
    setText(this.file, current.name)
    this.progress.value = current.percent ?? 0
    attribute(this.progress, 'title', percent(current.percent))
  }

  put(key, text, more = '') {
    const cell = this.cells.get(key)
    if (!cell.firstChild) cell.append(h('span', { class: 'main' }), h('span', { class: 'more' }))
    setText(cell.firstChild, text)
    setText(cell.lastChild, more)
  }
}
