/** Of what people are told about a device, what they were told, and whether it has come to them. */

import { Children, attribute, h, named, setText, setTime, time } from './dom.js'
import { capital, counted, duration, sentence } from './text.js'

const KINDS = { silent: 'Silent:', behind: 'Behind:', failing: 'Failures:' }
const HOUR_S = 3600

export class DeviceTold {
  constructor() {
    this.rule = h('p', { class: 'more' })
    this.list = h('ul', { class: 'notices' })
    this.items = new Children(this.list, (one) => one.kind, noticeItem)
    this.node = h('section', { class: 'card', 'aria-label': 'What people are told' }, h('h2', {}, 'What people are told'), this.list, this.rule)
  }

  show({ notices = [], notify }) {
    this.list.hidden = notices.length === 0
    this.items.show(notices)
    setText(this.rule, notify ? ruleSentence(notify) : '')
  }
}

function ruleSentence({ silent_hours: silent, pending_hours: pending, tell_failed: failed }) {
  const when = [
    silent ? `it has been silent for ${duration(silent * HOUR_S)}` : null,
    pending ? `its oldest recording has waited for ${duration(pending * HOUR_S)}` : null,
    failed ? 'a recording failed' : null,
  ].filter(Boolean)
  if (!when.length) return 'People are told nothing of it: [fleet] and [[notify]] of the server say so.'
  const last = when.pop()
  return `People are told once ${when.length ? `${when.join(', ')}, or ` : ''}${last}.`
}

function noticeItem(one) {
  const since = time(one.since, 'age')
  const word = h('strong', {}, KINDS[one.kind] ?? one.kind)
  const detail = h('span')
  const nobody = h('p', { class: 'todo' })
  const list = h('ul', { class: 'ways' })
  const ways = new Children(list, (way) => way.key, wayItem)
  return {
    node: h('li', {}, word, ' ', detail, h('span', { class: 'more' }, 'told ', since), list, nobody),
    update: (now) => {
      setText(detail, sentence(now.detail ?? ''))
      setTime(since, now.since, 'age')
      ways.show(waysOf(now.to))
      list.hidden = !now.to?.length
      setText(nobody, nobodySentence(now))
      nobody.hidden = Boolean(now.to?.length)
    },
  }
}

/** Return each way with a key of its own: two webhooks of one host have one name. */
export const waysOf = (to) => (to ?? []).map((way, at) => ({ ...way, key: `${at} ${way.to}` }))

export function nobodySentence({ to, handed_on: isHandedOn = true }) {
  if (!to) return 'Whom it was told, and whether it came, is kept no more.'
  if (!isHandedOn) return 'It is on its way.'
  return to.length ? '' : 'Nobody takes it: set up a [[webhook]] in server.toml, or [fleet] mqtt_url.'
}

function wayItem({ to }) {
  const said = h('span')
  const todo = h('span', { class: 'todo' })
  const node = h('li', {}, named(to), ' ', said, todo)
  return {
    node,
    update: (way) => {
      const isBad = !['told', 'waiting'].includes(way.state)
      attribute(node, 'data-tone', isBad ? 'bad' : null)
      setText(said, wayWord(way))
      setText(todo, isBad ? WAY_TODO[way.state] ?? '' : '')
      todo.hidden = !isBad
    },
  }
}

const WAY_TODO = {
  failing: 'It is tried again. Look at that target; "ingest-server webhook list" says more.',
  given_up: 'Repair that target, then run "ingest-server webhook replay dead".',
  disabled: 'It wants no more events. To go on, run "ingest-server webhook replay" with its URL.',
}

/** Return how far a notice has come on one way. */
export function wayWord({ state, tries, error }) {
  const why = capital(sentence(error ?? ''))
  switch (state) {
    case 'told':
      return 'has it.'
    case 'waiting':
      return 'is being told.'
    case 'failing':
      return `has not received it, after ${counted(tries, 'try', 'tries')}. ${why}`.trim()
    case 'given_up':
      return `did not receive it, and the server gave it up. ${why}`.trim()
    case 'disabled':
      return 'did not receive it, and is not told anything any more.'
    default:
      return ''
  }
}
