/** One device: what it does now, what waits and why, what a person can do. */

import { devicePath, get, reason } from './api.js'
import { Children, attribute, h, named, setText, setTime, time } from './dom.js'
import { DeviceArriving } from './device_arriving.js'
import { DeviceCommands } from './device_commands.js'
import { DeviceFiles } from './device_files.js'
import { DeviceHolds } from './device_holds.js'
import { DeviceNow } from './device_now.js'
import { DeviceSettings } from './device_settings.js'
import { DeviceTold } from './device_told.js'
import { Plot } from './plot.js'
import { bytes, said } from './text.js'
import { PRESENCE, PRESENCE_MEANS, eventWord, reasonWord } from './words.js'

const HISTORY_EVERY_MS = 60_000
/** Who was forgotten and reports again is new, and shown. */
const ABSENT_EVERY_MS = 10_000

export default class DeviceView {
  constructor({ argument, refresh }) {
    this.device = argument
    this.refresh = refresh
    this.again404 = null
    this.etag = null
    this.historyAt = 0
    this.commands = new DeviceCommands(argument, refresh)
    this.now = new DeviceNow(argument)
    this.arriving = new DeviceArriving(argument)
    this.files = new DeviceFiles(this.commands)
    this.settings = new DeviceSettings(argument, refresh)
    this.holds = new DeviceHolds(this.commands)
    this.told = new DeviceTold()
    this.plot = new Plot()
    this.events = new Events()
    this.node = this.build()
  }

  build() {
    this.presence = h('span', { class: 'badge' })
    this.seen = time(null, 'age')
    this.next = time(null, 'clock')
    this.again = h('span', { hidden: true }, ', reports again by ', this.next)
    this.known = h('span', { class: 'seen' }, 'last seen ', this.seen, this.again)
    this.what = h('p', { class: 'what' })
    this.why = h('strong')
    this.todo = h('span', { class: 'todo' })
    this.stuck = h('section', { class: 'glance', 'data-tone': 'bad', 'aria-label': 'It is stuck', hidden: true }, h('span', { class: 'lamp' }), h('div', {}, this.why, this.todo))
    this.waiting = h('p', { class: 'loading' }, 'Asking the server…')
    this.body = h('div', { class: 'columns', hidden: true },
      h('div', { class: 'wide' }, this.now.node, this.arriving.node, section('Rate of the last 24 hours', this.plot.node), this.files.failed.node, this.files.pending.node),
      h('div', { class: 'narrow' }, this.commands.node, this.settings.node, this.told.node, this.now.facts, this.events.node),
      h('div', { class: 'last' }, this.holds.node))
    return h('div', { class: 'device' },
      h('p', { class: 'back' }, h('a', { href: '#/' }, '‹ Fleet')),
      h('div', { class: 'title' }, h('h1', {}, named(this.device)), this.presence, this.known),
      this.what, this.stuck, this.waiting, this.body)
  }

  async step(signal) {
    const { status, etag, body } = await get(devicePath(this.device), {}, { etag: this.etag, signal })
    if (status !== 304) {
      this.etag = etag
      this.show(body)
    }
    await this.arriving.step(signal)
    if (Date.now() - this.historyAt >= HISTORY_EVERY_MS) await this.showHistory(signal)
  }

  /** The plot only helps: without it the rest is shown, and it is asked for again in a minute. */
  async showHistory(signal) {
    this.historyAt = Date.now()
    try {
      const { body } = await get(`${devicePath(this.device)}/history`, { hours: 24 }, { signal })
      this.plot.show(body)
    } catch (error) {
      if (signal.aborted || error.status === 401) throw error
      this.plot.none(reason(error))
    }
  }

  show(told) {
    const { row } = told
    this.waiting.hidden = true
    for (const node of [this.body, this.presence, this.known, this.what]) node.hidden = false
    setText(this.presence, PRESENCE[row.presence] ?? String(row.presence))
    attribute(this.presence, 'data-presence', row.presence)
    setTime(this.seen, row.last_seen, 'age')
    setTime(this.next, row.next_by, 'clock')
    this.again.hidden = row.presence !== 'online' || !row.next_by
    setText(this.what, described(told))
    this.stuck.hidden = !told.stuck
    setText(this.why, told.stuck?.why ?? '')
    setText(this.todo, told.stuck?.do ?? '')
    this.now.show(told)
    this.commands.show(told)
    this.files.show(told)
    this.settings.show(told)
    this.holds.show(told)
    this.told.show(told)
    this.events.show(told.events ?? [])
  }

  close() {
    clearTimeout(this.again404)
  }

  /** What a refusal means here; true: asking again does not help. */
  refused(error) {
    if (error.status !== 404) return false
    this.etag = null
    this.body.hidden = true
    this.waiting.hidden = false
    for (const node of [this.presence, this.known, this.what, this.stuck]) node.hidden = true
    setText(this.waiting, 'The server knows no device of this name. It may never have been here, or was forgotten. If it reports, it is shown here.')
    clearTimeout(this.again404)
    this.again404 = setTimeout(this.refresh, ABSENT_EVERY_MS)
    return true
  }
}

/** Return the sentence below the name: why it is as it is. */
function described({ row }) {
  if (row.presence !== 'online') return PRESENCE_MEANS[row.presence] ?? ''
  if (row.blocked_detail) return row.blocked_detail
  if (row.blocked_by) return reasonWord(row.blocked_by)
  if (row.state === 'uploading') return 'It sends.'
  return row.pending_files || row.failed ? '' : 'Everything that it has told of has arrived.'
}

function section(title, ...children) {
  return h('section', { class: 'card', 'aria-label': title }, h('h2', {}, title), children)
}

class Events {
  constructor() {
    this.list = h('ol', { class: 'events' })
    this.none = h('p', { class: 'none' }, 'Nothing has been told yet.')
    this.items = new Children(this.list, (one) => one.number, eventItem)
    this.isLong = false
    this.more = h('button', { type: 'button', class: 'quiet', on: { click: () => this.toggle() } })
    this.node = section('Events', this.none, this.list, this.more)
  }

  toggle() {
    this.isLong = !this.isLong
    this.show(this.told)
  }

  show(told) {
    this.told = told
    this.none.hidden = told.length > 0
    this.items.show(this.isLong ? told : told.slice(0, 8))
    this.more.hidden = told.length <= 8
    setText(this.more, this.isLong ? 'Show fewer' : `Show all ${told.length}`)
  }
}

function eventItem({ type, at, event = {} }) {
  const { clock, time: toldAt } = event
  const data = event.data ?? {}
  const isBad = /failed|low|dropped|rejected|lost/.test(type)
  const detail = [data.length === undefined ? null : bytes(data.length), said(data.detail ?? data.reason)].filter(Boolean).join(' · ')
  return {
    node: h('li', { 'data-tone': isBad ? 'bad' : null },
      time(clock === 'unsynced' ? at : (toldAt ?? at)), h('span', { class: 'word' }, eventWord(type)),
      data.name ? named(data.name, { class: 'file' }) : null,
      detail ? h('span', { class: 'more' }, detail) : null),
  }
}
