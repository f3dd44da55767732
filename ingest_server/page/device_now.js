/** What a device does at this moment, its problems, and the way to it. */

import { Children, attribute, h, setText, setTime, time } from './dom.js'
import { oldestSince } from './rows.js'
import { bytes, counted, duration, milliseconds, percent, rate, said, UNKNOWN } from './text.js'
import { problem, stateWord } from './words.js'

const FACTS = [
  ['Last completed', null],
  ['Link', ({ row, state }) => linkSentence(row.link ?? state?.link)],
  ['Round trip', ({ row, state }) => milliseconds(row.link?.rtt_ms ?? state?.link?.rtt_ms)],
  ['Sent again', ({ state }) => percent(state?.link?.retransmit_percent)],
  ['Other ways', ({ state }) => state?.link?.other ?? null],
  ['Limit', ({ state }) => (state ? (state.limit_bytes_per_s ? rate(state.limit_bytes_per_s) : 'none') : UNKNOWN)],
  ['Disk of the device', ({ row }) => (row.disk?.total ? `${bytes(row.disk.free)} free of ${bytes(row.disk.total)}` : UNKNOWN)],
  ['Recordings done', ({ state }) => (state?.totals ? `${counted(state.totals.files_done, 'file')}, ${bytes(state.totals.bytes_sent)}` : UNKNOWN)],
  ['Clock', ({ state, info }) => ({ synced: 'set', unsynced: 'not set by anybody' })[state?.clock ?? info?.clock] ?? UNKNOWN],
  ['Agent', ({ row, info }) => info?.version ?? row.version ?? UNKNOWN],
  ['Device', ({ info }) => [info?.host?.model, info?.host?.os, info?.host?.arch].map(said).filter(Boolean).join(', ') || UNKNOWN],
  ['Reports over', ({ row }) => (row.via?.length ? row.via.map((way) => ({ server: 'this server', mqtt: 'MQTT' })[way] ?? way).join(' and ') : UNKNOWN)],
]

export class DeviceNow {
  constructor(device) {
    this.name = h('bdi', { dir: 'auto', class: 'file' })
    this.state = h('p', { class: 'word' })
    this.progress = h('progress', { max: '1000', 'aria-label': 'Acknowledged by the server' })
    this.figures = h('p', { class: 'figures' })
    this.waiting = h('span')
    this.oldest = time(null, 'span')
    this.age = h('span', {}, ' The oldest has waited for ', this.oldest, '.')
    this.queue = h('p', { class: 'more' }, this.waiting, this.age)
    this.current = h('div', { class: 'current' }, this.name, this.progress, this.figures)
    this.list = h('ul', { class: 'problems' })
    this.problems = new Children(this.list, (code) => code, (code) => problemItem(code, device))
    this.node = h('section', { class: 'card now', 'aria-label': 'Now' }, h('h2', {}, 'Now'), this.state, this.current, this.queue, this.list)
    this.completed = time(null)
    this.values = FACTS.map(([label, of]) => ({ of, term: h('dt', {}, label), value: h('dd', {}, of ? UNKNOWN : this.completed) }))
    this.facts = h('section', { class: 'card', 'aria-label': 'Link and device' }, h('h2', {}, 'Link and device'), h('dl', {}, this.values.flatMap(({ term, value }) => [term, value])))
  }

  show(told) {
    const { row, state } = told
    const current = { ...row.current, ...state?.current }
    const isHere = row.presence === 'online' || row.presence === 'late'
    setText(this.state, row.state ? (isHere ? stateWord(row.state) : `When it was last heard of: ${stateWord(row.state)}`) : 'It has not said what it does.')
    attribute(this.node, 'data-state', isHere ? row.state : 'gone')
    this.current.hidden = !current.name
    if (current.name) this.showCurrent(current, row)
    this.showQueue(row)
    this.problems.show(row.problems ?? [])
    this.list.hidden = !row.problems?.length
    setTime(this.completed, row.last_completed_at, 'clock')
    for (const { of, term, value } of this.values) {
      if (!of) continue
      const text = of(told)
      term.hidden = value.hidden = text === null
      if (text !== null) setText(value, said(text) || UNKNOWN)
    }
  }

  /** How much waits; its age goes on while the device is away. */
  showQueue(row) {
    const since = row.pending_files ? oldestSince(row) : null
    setText(this.waiting, queueSentence(row))
    setTime(this.oldest, since === null ? null : since / 1000, 'span')
    this.age.hidden = since === null
  }

  showCurrent(current, row) {
    setText(this.name, current.name)
    this.progress.value = current.length ? (1000 * current.acknowledged) / current.length : 0
    const parts = [`${bytes(current.acknowledged)} of ${bytes(current.length)} acknowledged`, percent(current.percent)]
    if (row.rate_bytes_per_s) parts.push(rate(row.rate_bytes_per_s))
    if (row.eta_s) parts.push(`${duration(row.eta_s)} left`)
    if (current.attempt > 1) parts.push(`attempt ${current.attempt}`)
    setText(this.figures, parts.join(' · '))
  }
}

function queueSentence(row) {
  if (row.pending_files === null || row.pending_files === undefined) return ''
  if (!row.pending_files) return 'Nothing is pending.'
  return `${counted(row.pending_files, 'recording')} pending, ${bytes(row.pending_bytes)}.`
}

function linkSentence(link) {
  if (!said(link?.iface)) return UNKNOWN
  const lanes = link.lanes ? `, ${counted(link.lanes, 'connection')}` : ''
  return `${link.iface}${link.metered ? ', metered' : ''}${lanes}`
}

/** What a problem means, and what to do: a command has the name of the device in it. */
function problemItem(code, device) {
  const { word, means, todo } = problem(code)
  return { node: h('li', {}, h('strong', {}, word), ' ', h('span', {}, means), h('span', { class: 'todo' }, todo.replace('DEVICE', () => device))) }
}
