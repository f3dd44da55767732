/** Buttons that ask a device to do something, and what came of it. */

import { devicePath, isViewer, reason, send } from './api.js'
import { serverNow } from './clock.js'
import { Children, announce, attribute, h, setText, time } from './dom.js'
import { instant, localTime, rate, typedRate } from './text.js'
import { commandStanding, commandWord } from './words.js'

const SHOWN = 6
const SPANS = [['', 'until resumed'], ['900', 'for 15 minutes'], ['3600', 'for an hour'], ['28800', 'for 8 hours'], ['86400', 'for a day']]
const LIMIT_SPANS = [['', 'until changed'], ...SPANS.slice(1)]

export class DeviceCommands {
  constructor(device, refresh) {
    this.device = device
    this.refresh = refresh
    this.allowed = new Map()
    this.list = h('ol', { class: 'commands' })
    this.items = new Children(this.list, (one) => one.id, commandItem)
    this.none = h('p', { class: 'none' })
    this.node = h('section', { class: 'card', 'aria-label': 'Control' }, h('h2', {}, 'Control'), this.forms(), this.none, this.list)
  }

  forms() {
    this.pauseFor = choice('How long to pause', SPANS)
    this.pause = this.button('Pause', 'pause', () => span(this.pauseFor))
    this.resume = this.button('Resume', 'resume', () => ({}))
    this.limit = h('input', { id: 'limit', placeholder: '500 kB/s', autocomplete: 'off', size: '9', maxlength: '20', 'aria-describedby': 'limit-said' })
    this.limitFor = choice('How long to limit', LIMIT_SPANS)
    this.limitSaid = h('p', { id: 'limit-said', class: 'said bad', role: 'status' })
    this.setLimit = this.button('Limit', 'set_bandwidth', () => this.limitArguments())
    this.buttons = h('div', { class: 'row' }, this.button('Rescan', 'rescan', () => ({})), this.button('Retry failed', 'retry_failed', () => ({})), this.button('Report now', 'report', () => ({})))
    const pausing = h('div', { class: 'row' }, this.resume, this.pause, this.pauseFor)
    const limiting = h('form', { class: 'row', on: { submit: (event) => { event.preventDefault(); this.setLimit.click() } } }, h('label', { for: 'limit', class: 'unseen' }, 'Limit, 0 for none'), this.limit, this.limitFor, this.setLimit)
    return h('div', { class: 'steer' }, pausing, limiting, this.limitSaid, this.buttons)
  }

  limitArguments() {
    const typed = this.limit.value.trim()
    const value = typed === '' || /^(0|none|no)$/i.test(typed) ? 0 : typedRate(typed)
    if (!Number.isFinite(value)) {
      setText(this.limitSaid, `“${typed}” is no rate. Write it like 250 kB/s or 1.5 MB/s; 0 is no limit.`)
      this.limit.focus()
      return null
    }
    setText(this.limitSaid, '')
    return { limit_bytes_per_s: value, ...span(this.limitFor) }
  }

  /** Make a button for a command; it is off where the device does not allow that. */
  button(word, command, argumentsOf, about = null) {
    const button = h('button', { type: 'button', 'aria-label': about === null ? null : `${word}: ${about}` }, word)
    button.addEventListener('click', async () => {
      if (attributeIs(button, 'aria-disabled')) return announce(button.title, 'warn')
      const given = argumentsOf()
      if (given === null) return
      attribute(button, 'aria-busy', 'true')
      await this.send(command, given)
      attribute(button, 'aria-busy', null)
    })
    const known = this.allowed.get(command) ?? new Set()
    known.add(new WeakRef(button))
    this.allowed.set(command, known)
    this.allow(button, command)
    return button
  }

  allow(button, command) {
    let why = null
    if (isViewer()) why = 'You may look, and not give commands: your role is viewer.'
    else if (this.can && !this.can.includes(command)) why = `The device does not allow it: "${command}" is not in [commands] allowed of its configuration.`
    attribute(button, 'aria-disabled', why && 'true')
    attribute(button, 'title', why)
  }

  /** Ask for it and say by when it will be seen, or why it is refused. */
  async send(command, given) {
    try {
      const answer = await send('POST', `${devicePath(this.device)}/commands`, { cmd: command, args: given })
      announce(`${commandWord(command)}: ${seenSentence(answer)}`)
      this.refresh()
    } catch (error) {
      announce(`${commandWord(command)}: ${reason(error)}`, 'bad')
    }
  }

  show({ row, state, can, commands = [] }) {
    this.can = can ?? []
    for (const [command, buttons] of this.allowed) {
      for (const reference of buttons) {
        const button = reference.deref()
        if (button) this.allow(button, command)
        else buttons.delete(reference)
      }
    }
    const isPaused = state?.paused ?? row.state === 'paused'
    this.resume.hidden = !isPaused
    this.pause.hidden = this.pauseFor.hidden = isPaused
    attribute(this.limit, 'placeholder', state?.limit_bytes_per_s ? rate(state.limit_bytes_per_s) : 'no limit')
    this.none.hidden = this.can.length > 0 && commands.length > 0
    setText(this.none, this.can.length ? 'Nobody has asked it for anything yet.' : noneSentence(row))
    this.items.show(commands.slice(0, SHOWN))
  }
}

const attributeIs = (node, name) => node.getAttribute(name) === 'true'

function noneSentence(row) {
  return row.presence === 'never'
    ? 'It takes no commands, for it does not report: see [reports] in the configuration of a newer agent.'
    : 'It takes no commands: see [commands] allowed in its configuration.'
}

function seenSentence(answer) {
  const by = instant(answer?.seen_by)
  const until = instant(answer?.expires_at)
  if (answer?.message) return `the device sees it ${answer.message}.`
  if (by === null && answer?.via === 'mqtt') return `the server has no way to the broker now; the device sees this if that is back by ${localTime(until, serverNow())}.`
  if (by === null) return until === null ? 'sent.' : `the device is away; it sees this if it is back by ${localTime(until, serverNow())}.`
  return `the device will see it by ${localTime(by, serverNow())}${answer.via === 'mqtt' ? ', over MQTT' : ''}.`
}

function choice(label, options) {
  return h('select', { 'aria-label': label }, options.map(([value, word]) => h('option', { value }, word)))
}

const span = (select) => (select.value ? { for_s: Number(select.value) } : {})

function commandItem(one) {
  const word = h('span', { class: 'badge' })
  const said = h('span', { class: 'more' })
  const node = h('li', {}, time(one.created_at), h('span', { class: 'word' }, commandWord(one.cmd)), word, said)
  return {
    node,
    update: (now) => {
      const standing = commandStanding(now)
      setText(word, standing.word)
      attribute(word, 'data-tone', standing.tone)
      setText(said, saidOf(now, standing))
    },
  }
}

function saidOf(one, standing) {
  const by = instant(one.seen_by)
  const parts = []
  if (!standing.isOver && !['accepted', 'sent'].includes(one.status)) {
    const until = localTime(instant(one.expires_at), serverNow())
    parts.push(by === null || by < serverNow() ? `nobody can say when the device sees it; it is kept until ${until}` : `the device sees it by ${localTime(by, serverNow())}`)
  }
  if (one.message) parts.push(one.message)
  if (one.status === 'expired' && !one.message) parts.push('The device was not there in time. Nothing happened.')
  if (one.by) parts.push(`by ${one.by}`)
  return parts.join(' · ')
}
