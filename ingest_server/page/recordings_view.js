/** The recordings that arrived: found by device, time and name; played, taken, and proved. */

import { address, get, reason, recordingPath, whyNoContent } from './api.js'
import { announce, copyButton, h, named, setText, time } from './dom.js'
import { dayEnd, dayStart } from './days.js'
import { Newest } from './newest.js'
import { kindOf, play } from './player.js'
import { bytes, capital, counted, duration, hexDigest, instant, UNKNOWN } from './text.js'
import { Thumbnails } from './thumbnails.js'

export default class RecordingsView {
  constructor({ query, refresh }) {
    this.thumbnails = new Thumbnails()
    this.newest = new Newest('fleet/recordings', 'recordings', {
      list: h('ul', { class: 'recordings' }), key: (one) => one.upload_id, item: (one) => this.item(one), sentence, refresh,
    })
    this.everyS = this.newest.everyS
    this.node = h('div', { class: 'page' }, h('h1', {}, 'Recordings'), h('p', { class: 'more' }, h('a', { href: '#/groups' }, 'Those that belong together, as groups')), this.form(), this.newest.said, this.newest.list, this.newest.more)
    this.turnTo(query)
  }

  form() {
    this.q = h('input', { id: 'q', type: 'search', placeholder: 'part of the name', maxlength: '200', autocomplete: 'off' })
    this.device = h('input', { id: 'device', placeholder: 'any', maxlength: '63', autocomplete: 'off', autocapitalize: 'none', spellcheck: 'false' })
    this.from = h('input', { id: 'from', type: 'date' })
    this.to = h('input', { id: 'to', type: 'date' })
    const submit = (event) => {
      event.preventDefault()
      this.remember()
    }
    return h('form', { class: 'filter', role: 'search', on: { submit } },
      [['Name', this.q], ['Device', this.device], ['Verified from', this.from], ['to', this.to]].map(([label, input]) => h('label', { for: input.id }, h('span', {}, label), input)),
      h('button', { type: 'submit' }, 'Find'))
  }

  /** Show what the address asks for: #/recordings?q=…&device=…&from=2026-11-21&to=… */
  turnTo(query) {
    for (const name of ['q', 'device', 'from', 'to']) this[name].value = query.get(name) ?? ''
    this.ask()
  }

  remember() {
    const query = new URLSearchParams()
    for (const name of ['q', 'device', 'from', 'to']) if (this[name].value.trim()) query.set(name, this[name].value.trim())
    const wished = `#/recordings${query.size ? `?${query}` : ''}`
    if (location.hash === wished) this.ask()
    else location.hash = wished
  }

  ask() {
    this.newest.ask({ q: this.q.value.trim(), device: this.device.value.trim(), from: dayStart(this.from.value), to: dayEnd(this.to.value) })
  }

  step(signal) {
    return this.newest.step(signal)
  }

  refused(error) {
    return this.newest.refused(error)
  }

  item(one) {
    const canPlay = one.can_play === true
    const picture = canPlay
      ? h('button', { type: 'button', class: 'thumb', 'aria-label': `Play ${one.name}`, on: { click: () => play(one) } }, h('span', { class: 'triangle', 'aria-hidden': 'true' }))
      : h('span', { class: 'thumb none', 'aria-hidden': 'true' }, ending(one.name))
    if (canPlay && kindOf(one.name) === 'video') this.thumbnails.watch(picture, one)
    const digest = hexDigest(one.digest)
    return {
      node: h('li', {}, picture,
        h('div', { class: 'what' },
          named(one.name, { class: 'file' }),
          h('p', { class: 'more' }, h('a', { href: `#/device/${encodeURIComponent(one.device)}` }, named(one.device)), ' · ', bytes(one.length), ' · verified ', time(one.verified_at), one.verified_against === 'client' ? ' against the device’s own digest' : ' (the client gave no digest)'),
          h('p', { class: 'more digest' }, 'SHA-256 ', h('code', { title: digest }, digest.length > 20 ? `${digest.slice(0, 16)}…` : digest), ' ', copyButton(digest, `Copy the digest of ${one.name}`)),
          facts(one.facts ?? {}),
          receipt(one)),
        h('div', { class: 'actions' },
          canPlay ? h('button', { type: 'button', 'aria-label': `Play: ${one.name}`, on: { click: () => play(one) } }, 'Play') : null,
          downloadLink(one))),
    }
  }

  close() {
    this.newest.close()
    this.thumbnails.close()
  }
}

function sentence(shown, hasMore, { q, device, from, to }) {
  if (shown) return `${counted(shown, 'recording')}${hasMore ? ' so far' : ''}, newest first.`
  if (q || device || from || to) return 'No recording fits. Try a part of the name, or a longer time.'
  return 'No recording has arrived yet. What a device sends stands here as soon as it is verified and published.'
}

/** What a recording says of itself, as its device has told: shown, and relied on for nothing. */
function facts(said) {
  const seconds = Number(said.duration_s)
  const parts = [
    instant(said.captured_at) === null ? null : ['recorded ', time(said.captured_at)],
    seconds > 0 && Number.isFinite(seconds) ? [duration(seconds)] : null,
    ...[said.codecs, said.dimensions, said.location].map((one) => (one ? [named(one)] : null)),
    said.unfinalised === 'true' ? ['cut short: its recorder did not come to close it, and players may show nothing of it'] : null,
  ].filter(Boolean)
  if (!parts.length) return null
  return h('p', { class: 'more' }, ...parts.flatMap((part, n) => (n ? [' · ', ...part] : part)))
}

/** A link that says why, where the server has no such bytes any more: a browser would only say "failed". */
export function downloadLink(one) {
  const href = address(`${recordingPath(one.upload_id)}/content`, { download: 1 })
  const link = h('a', { class: 'button', href, download: '', 'aria-label': `Download: ${one.name}` }, 'Download')
  let isAsked = false
  link.addEventListener('click', async (event) => {
    if (isAsked || event.ctrlKey || event.metaKey || event.shiftKey) return
    event.preventDefault()
    const why = await whyNoContent(recordingPath(one.upload_id))
    if (why) return announce(`${one.name}: ${capital(why)}`, 'bad')
    isAsked = true
    link.click()
    isAsked = false
  })
  return link
}

/** The receipt, read when somebody opens it. */
function receipt(one) {
  const pre = h('pre', { tabindex: '0' }, UNKNOWN)
  const details = h('details', {}, h('summary', {}, 'Receipt'), h('p', { class: 'more' }, 'What the device was told when the server had verified it: reason enough to let its copy go.'), pre)
  details.addEventListener('toggle', async () => {
    if (!details.open || pre.dataset.read) return
    try {
      const { body } = await get(recordingPath(one.upload_id))
      setText(pre, JSON.stringify(body.receipt ?? body, null, 2))
      pre.dataset.read = 'yes'
    } catch (error) {
      setText(pre, reason(error))
    }
  })
  return details
}

function ending(name) {
  const found = /\.([A-Za-z0-9]{1,5})$/.exec(name ?? '')
  return found ? found[1].toUpperCase() : 'FILE'
}
