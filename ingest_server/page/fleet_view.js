/** The fleet in one glance: is anything stuck, the figures, and a row for each device. */

import { get } from './api.js'
import { serverNow } from './clock.js'
import { Children, attribute, h, named, setText, setTime, time } from './dom.js'
import { FleetTable } from './fleet_table.js'
import { Fleet } from './rows.js'
import { bytes, count, counted, duration, instant, UNKNOWN } from './text.js'

const SHOWN_STUCK = 3

/** `filter`: pressing it shows these devices alone. */
const TILES = [
  { key: 'online', label: 'Online', filter: 'online', of: (tiles) => count(tiles.online) },
  { key: 'late', label: 'Late', filter: 'late', tone: 'warn', of: (tiles) => count(tiles.late) },
  { key: 'offline', label: 'Offline', filter: 'offline', of: (tiles) => count(tiles.offline) },
  { key: 'pending_bytes', label: 'Pending', filter: 'pending', of: (tiles) => bytes(tiles.pending_bytes), more: (tiles) => counted(tiles.pending_files, 'file') },
  { key: 'oldest_age_s', label: 'Oldest pending', filter: 'oldest', of: (tiles) => duration(tiles.oldest_age_s) },
  { key: 'failed', label: 'Failed', filter: 'failed', tone: 'bad', of: (tiles) => count(tiles.failed) },
  { key: 'free_bytes', label: 'Free on the server', of: (tiles) => bytes(tiles.free_bytes) },
]

export default class FleetView {
  constructor({ query }) {
    this.fleet = kept.fleet
    this.etag = null
    this.table = new FleetTable({ onFilter: (filter) => this.pressed(filter) })
    this.glance = new Glance()
    this.tiles = new Map(TILES.map((tile) => [tile.key, this.tile(tile)]))
    const tiles = h('ul', { class: 'tiles', 'aria-label': 'Figures of the fleet' }, [...this.tiles.values()].map(({ item }) => item))
    this.whole = h('div', {}, this.glance.node, tiles, this.table.node)
    this.node = h('div', { class: 'fleet' }, h('h1', { class: 'unseen' }, 'Fleet'), h('p', { class: 'loading' }, 'Asking the server…'))
    this.turnTo(query)
    if (this.fleet.tiles) this.show()
  }

  turnTo(query) {
    this.table.setQuery(query)
    this.pressed(this.table.filter)
  }

  async step(signal) {
    const since = this.fleet.cursor
    const { status, etag, body } = await get('fleet', { since }, { etag: this.etag, signal })
    if (status === 304) return
    this.etag = etag
    this.fleet.apply(body)
    this.show()
  }

  show() {
    const { fleet } = this
    if (fleet.rows.size === 0) return this.showEmpty()
    if (!this.whole.isConnected || this.node.lastChild !== this.whole) this.node.replaceChildren(this.node.firstChild, this.whole)
    for (const tile of TILES) this.showTile(tile)
    this.glance.show(fleet)
    this.table.show([...fleet.rows.values()])
  }

  async showEmpty() {
    const { firstDevice } = await import('./first_device.js')
    if (this.fleet.rows.size === 0 && !this.node.querySelector('.first')) {
      this.node.replaceChildren(this.node.firstChild, firstDevice())
    }
  }

  tile({ label, filter, more }) {
    const value = h('span', { class: 'value' }, UNKNOWN)
    const second = more ? h('span', { class: 'more' }) : null
    const inner = [h('span', { class: 'label' }, label), value, second]
    const box = filter
      ? h('button', { type: 'button', class: 'tile', 'aria-pressed': 'false', on: { click: () => this.table.setFilter(this.table.filter === filter ? null : filter) } }, inner)
      : h('div', { class: 'tile' }, inner)
    return { item: h('li', {}, box), box, value, second }
  }

  showTile({ key, of, more, tone }) {
    const { value, second, box } = this.tiles.get(key)
    const { tiles } = this.fleet
    setText(value, of(tiles))
    if (second) setText(second, more(tiles))
    attribute(box, 'data-tone', tone && tiles[key] > 0 ? tone : null)
  }

  pressed(filter) {
    for (const { key, filter: own } of TILES) {
      if (own) attribute(this.tiles.get(key).box, 'aria-pressed', String(own === filter))
    }
  }
}

/** What was told stays while another view is looked at: coming back costs only what has changed. */
const kept = { fleet: new Fleet() }

/** "Is anything stuck?": one sentence, and what to do about each. */
class Glance {
  constructor() {
    this.sentence = h('h2', {})
    this.detail = h('p', {})
    this.list = h('ol', { class: 'stuck' })
    this.items = new Children(this.list, (one) => `${one.device}\n${one.why}`, stuckItem)
    this.told = h('p', { class: 'told' })
    this.isLong = false
    this.more = h('button', { type: 'button', class: 'quiet', 'aria-expanded': 'false', on: { click: () => this.toggle() } })
    this.node = h('section', { class: 'glance', 'aria-label': 'Is anything stuck?' }, h('span', { class: 'lamp' }), h('div', {}, this.sentence, this.detail, this.list, this.more, this.told))
  }

  toggle() {
    this.isLong = !this.isLong
    this.show(this.fleet)
  }

  /** What people were told, and who has not got it. */
  showTold(notices) {
    const { devices, undelivered, given_up: givenUp } = notices
    this.told.hidden = !devices && !givenUp.length
    const text = JSON.stringify(notices)
    if (this.toldText === text) return
    this.toldText = text
    attribute(this.told, 'data-tone', undelivered.length || givenUp.length ? 'bad' : null)
    const told = devices ? [h('a', { href: '#/?show=told' }, `People were told of ${counted(devices, 'device')}`), cameTo(notices)] : []
    const missed = stillTried(notices).map(({ to, error }) => [' ', named(to), ` has not received all of it${error ? `: ${error}` : ''}.`])
    this.told.replaceChildren(...told, ...missed.flat(), ...givenUp.flatMap((one) => [' ', named(one.to), givenUpSentence(one)]))
  }

  show(fleet) {
    this.fleet = fleet
    const { stuck, stuckInAll } = fleet
    this.node.dataset.tone = stuck.length ? 'bad' : 'good'
    setText(this.sentence, stuck.length ? `${counted(stuckInAll, 'device')} ${stuckInAll === 1 ? 'needs' : 'need'} attention` : 'Nothing is stuck')
    setText(this.detail, glanceDetail(fleet))
    this.detail.hidden = stuck.length > 0
    this.list.hidden = !stuck.length
    this.items.show(this.isLong ? stuck : stuck.slice(0, SHOWN_STUCK))
    this.showTold(fleet.notices)
    const hidden = stuck.length - SHOWN_STUCK
    this.more.hidden = hidden <= 0
    attribute(this.more, 'aria-expanded', String(this.isLong))
    setText(this.more, this.isLong ? 'Show fewer' : `Show ${count(hidden)} more`)
  }
}

/** Return who has not received all, beside those that are named as given up: two webhooks of one host have one name. */
export function stillTried({ undelivered, given_up: givenUp }) {
  return undelivered.filter((way) => way.state !== 'given_up' || !givenUp.some((one) => one.to === way.to))
}

/** Return what is said of who is told no more of what it has not got, after its name. */
export function givenUpSentence({ count, error }) {
  const why = error ? `: ${error}` : ''
  return ` did not receive ${counted(count, 'event')}, which the server gave up${why}. Repair that target, then run "ingest-server webhook replay dead".`
}

/** Return how the sentence on what people were told ends: whether it has come to all whom it is for. */
export function cameTo({ undelivered, nobody, waiting, unknown }) {
  if (!undelivered.length && !nobody && !waiting && !unknown) return '; all targets have received it.'
  const open = ['.']
  if (nobody) open.push(`For ${counted(nobody, 'device')}, there is nobody to tell: set up a [[webhook]] in server.toml, or [fleet] mqtt_url.`)
  if (waiting) open.push(`For ${counted(waiting, 'device')}, it is on its way.`)
  return open.join(' ')
}

function glanceDetail({ rows, tiles }) {
  const sending = [...rows.values()].filter((row) => row.state === 'uploading').length
  const parts = [`${counted(rows.size, 'device')}, ${sending ? `${count(sending)} sending` : 'none sending'}`]
  if (tiles.pending_files) parts.push(`${counted(tiles.pending_files, 'recording')} (${bytes(tiles.pending_bytes)}) on the way, the oldest for ${duration(tiles.oldest_age_s)}`)
  else parts.push('everything reported has arrived')
  return `${parts.join('; ')}.`
}

function stuckItem(one) {
  const since = time(one.since, 'span')
  const why = h('span', { class: 'why' })
  const todo = h('span', { class: 'todo' })
  const node = h('li', {}, h('a', { href: deviceLink(one.device) }, named(one.device)), h('div', {}, why, todo), h('span', { class: 'since' }, since))
  return {
    node,
    update: (now) => {
      setText(why, now.why ?? '')
      setText(todo, now.do ?? '')
      setTime(since, now.since, 'span')
      since.parentNode.hidden = !(serverNow() - instant(now.since) >= 60_000)
    },
  }
}

const deviceLink = (device) => `#/device/${encodeURIComponent(device)}`
