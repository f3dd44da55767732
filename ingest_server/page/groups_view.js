/** Recordings that belong together: how much of each group is here, and its files. */

import { get, reason } from './api.js'
import { attribute, h, named, setText, setTime, time } from './dom.js'
import { Newest } from './newest.js'
import { play } from './player.js'
import { downloadLink } from './recordings_view.js'
import { bytes, counted } from './text.js'

const ROLES = { original: 'original', proxy: 'small copy', sidecar: 'sidecar', thumbnail: 'picture' }

export default class GroupsView {
  constructor({ query, refresh }) {
    this.newest = new Newest('fleet/groups', 'groups', {
      list: h('ul', { class: 'groups' }), key: (one) => `${one.device}/${one.group}`, item, sentence, refresh,
    })
    this.everyS = this.newest.everyS
    this.device = h('input', { id: 'device', placeholder: 'any', maxlength: '63', autocomplete: 'off', autocapitalize: 'none', spellcheck: 'false' })
    this.state = h('select', { id: 'state' }, [['', 'all'], ['open', 'not complete'], ['complete', 'complete']].map(([value, word]) => h('option', { value }, word)))
    const submit = (event) => {
      event.preventDefault()
      this.remember()
    }
    this.node = h('div', { class: 'page' },
      h('h1', {}, 'Groups of recordings'),
      h('p', { class: 'more' }, h('a', { href: '#/recordings' }, 'All recordings, one by one')),
      h('form', { class: 'filter', role: 'search', on: { submit } },
        [['Device', this.device], ['State', this.state]].map(([label, input]) => h('label', { for: input.id }, h('span', {}, label), input)),
        h('button', { type: 'submit' }, 'Find')),
      this.newest.said, this.newest.list, this.newest.more)
    this.turnTo(query)
  }

  turnTo(query) {
    for (const name of ['device', 'state']) this[name].value = query.get(name) ?? ''
    this.ask()
  }

  remember() {
    const query = new URLSearchParams()
    for (const name of ['device', 'state']) if (this[name].value.trim()) query.set(name, this[name].value.trim())
    const wished = `#/groups${query.size ? `?${query}` : ''}`
    if (location.hash === wished) this.ask()
    else location.hash = wished
  }

  ask() {
    this.newest.ask({ device: this.device.value.trim(), state: this.state.value })
  }

  step(signal) {
    return this.newest.step(signal)
  }

  refused(error) {
    return this.newest.refused(error)
  }

  close() {
    this.newest.close()
  }
}

function sentence(shown, hasMore, { device, state }) {
  if (shown) return `${counted(shown, 'group')}${hasMore ? ' so far' : ''}, newest first.`
  if (device || state) return 'No group is like that.'
  return 'No device has told of recordings that belong together yet: a video with its telemetry, the chapters of a clip.'
}

function item(first) {
  let newest = first
  const files = h('ul', { class: 'members' })
  const details = h('details', {}, h('summary', {}, `Files of ${first.title}`), files)
  const read = () => details.open && fill(files, newest)
  details.addEventListener('toggle', read)
  const bar = h('progress')
  const done = h('span')
  const size = h('span')
  const told = time(first.told_at)
  const node = h('li', {},
    named(first.title, { class: 'file' }),
    h('p', { class: 'more' }, bar, ' ', done, ' · ', size, ' · ', h('a', { href: `#/device/${encodeURIComponent(first.device)}` }, named(first.device)), ' · told ', told),
    details)
  return {
    node,
    update: (one) => {
      newest = one
      const isDone = one.state === 'complete'
      attribute(bar, 'max', one.expected)
      attribute(bar, 'value', one.done)
      attribute(bar, 'aria-label', `${one.done} of ${one.expected} files of ${one.title} are here`)
      attribute(bar, 'data-tone', isDone ? 'good' : null)
      setText(done, isDone ? `complete, ${counted(one.done, 'file')}` : `${one.done} of ${counted(one.expected, 'file')} here`)
      setText(size, bytes(one.length))
      setTime(told, one.told_at, 'clock')
      read()
    },
  }
}

/** Read the files of a group, when somebody opens it, and again once there are others. */
async function fill(list, one) {
  const version = `${one.told_at} ${one.done}`
  if (list.dataset.read === version) return
  try {
    const { body } = await get(`fleet/groups/${encodeURIComponent(one.device)}/${encodeURIComponent(one.group)}`)
    list.replaceChildren(...body.members.map(file), ...body.missing.map(missing))
    list.dataset.read = version
  } catch (error) {
    list.replaceChildren(h('li', {}, reason(error)))
  }
}

function file(one) {
  const isHere = Boolean(one.upload_id)
  return h('li', {},
    h('div', { class: 'what' }, named(one.name), h('p', { class: 'more' }, ROLES[one.role] ?? one.role, ' · ', bytes(one.length), isHere ? ' · verified ' : ' · still on the device: it waits, or is fetched on the device’s page', isHere ? time(one.verified_at) : null)),
    h('div', { class: 'actions' },
      one.can_play ? h('button', { type: 'button', 'aria-label': `Play: ${one.name}`, on: { click: () => play(one) } }, 'Play') : null,
      isHere ? downloadLink(one) : null))
}

const missing = (name) =>
  h('li', {}, h('div', { class: 'what' }, named(name), h('p', { class: 'more bad' }, 'missing: the recorder wrote it, and the device does not have it')))
