/** Recordings that belong together: how much of each group is here, and its files. */

import { get } from './api.js'
import { Children, attribute, h, named, setText, time } from './dom.js'
import { play } from './player.js'
import { downloadLink } from './recordings_view.js'
import { bytes, counted } from './text.js'

const ROLES = { original: 'original', proxy: 'small copy', sidecar: 'sidecar', thumbnail: 'picture' }

export default class GroupsView {
  constructor({ query }) {
    this.rows = []
    this.list = h('ul', { class: 'groups' })
    this.items = new Children(this.list, (one) => `${one.device}/${one.group}/${one.told_at}/${one.done}`, item)
    this.said = h('p', { class: 'summary', role: 'status' }, 'Asking the server…')
    this.more = h('button', { type: 'button', hidden: true, on: { click: () => this.ask(this.next) } }, 'Show more')
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
      this.said, this.list, this.more)
    this.turnTo(query)
  }

  turnTo(query) {
    for (const name of ['device', 'state']) this[name].value = query.get(name) ?? ''
    this.ask(null)
  }

  remember() {
    const query = new URLSearchParams()
    for (const name of ['device', 'state']) if (this[name].value.trim()) query.set(name, this[name].value.trim())
    const wished = `#/groups${query.size ? `?${query}` : ''}`
    if (location.hash === wished) this.ask(null)
    else location.hash = wished
  }

  async ask(cursor) {
    this.asking?.abort()
    const asking = new AbortController()
    this.asking = asking
    const query = { device: this.device.value.trim(), state: this.state.value, cursor }
    try {
      const { body } = await get('fleet/groups', query, { signal: asking.signal })
      this.rows = cursor ? [...this.rows, ...body.groups] : body.groups
      this.next = body.next ?? null
      this.items.show(this.rows)
      this.more.hidden = !this.next
      setText(this.said, this.sentence(query))
    } catch (error) {
      if (!asking.signal.aborted) setText(this.said, error.message)
      if (error.status === 401) location.replace('#/login')
    }
  }

  sentence({ device, state }) {
    if (this.rows.length) return `${counted(this.rows.length, 'group')}${this.next ? ' so far' : ''}, newest first.`
    if (device || state) return 'No group is like that.'
    return 'No device has told of recordings that belong together yet: a video with its telemetry, the chapters of a clip.'
  }

  close() {
    this.asking?.abort()
  }
}

function item(one) {
  const files = h('ul', { class: 'members' })
  const details = h('details', {}, h('summary', {}, `Files of ${one.title}`), files)
  details.addEventListener('toggle', () => details.open && !files.dataset.read && fill(files, one))
  const isDone = one.state === 'complete'
  const bar = h('progress', { max: one.expected, value: one.done, 'aria-label': `${one.done} of ${one.expected} files of ${one.title} are here` })
  attribute(bar, 'data-tone', isDone ? 'good' : null)
  return {
    node: h('li', {},
      named(one.title, { class: 'file' }),
      h('p', { class: 'more' }, bar, ' ', isDone ? `complete, ${counted(one.done, 'file')}` : `${one.done} of ${counted(one.expected, 'file')} here`, ' · ', bytes(one.length), ' · ',
        h('a', { href: `#/device/${encodeURIComponent(one.device)}` }, named(one.device)), ' · told ', time(one.told_at)),
      details),
  }
}

/** Read the files of a group, when somebody opens it. */
async function fill(list, one) {
  try {
    const { body } = await get(`fleet/groups/${encodeURIComponent(one.device)}/${encodeURIComponent(one.group)}`)
    list.replaceChildren(...body.members.map(file), ...body.missing.map(missing))
    list.dataset.read = 'yes'
  } catch (error) {
    list.replaceChildren(h('li', {}, error.message))
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
