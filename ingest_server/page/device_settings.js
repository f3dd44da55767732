/** Settings that stay: what was asked for, what the device has, and where the two differ. */

import { devicePath, isViewer, reason, send } from './api.js'
import { announce, attribute, h, setText } from './dom.js'
import { duration, rate, typedRate, UNKNOWN } from './text.js'

const SETTINGS = {
  paused: { label: 'Paused', show: (value) => (value ? 'yes' : 'no'), parse: (text) => ({ yes: true, no: false })[text], choices: ['no', 'yes'] },
  limit_bytes_per_s: { label: 'Limit', show: (value) => (value ? rate(value) : 'none'), parse: parseLimit, hint: '250 kB/s' },
  telemetry_interval_s: { label: 'Reports every', show: (value) => duration(value), parse: parseSeconds, hint: 'seconds' },
}

/** Return whether the device has something else than was asked for. */
export function differs(key, desired, reported) {
  const asked = desired?.settings ?? {}
  if (!Object.hasOwn(asked, key)) return false
  const has = reported?.settings ?? {}
  return !Object.hasOwn(has, key) || (asked[key] || null) !== (has[key] || null)
}

/** Return why the device has something else than was asked for; empty where it has that. */
export function why(key, desired, reported) {
  if (!differs(key, desired, reported)) return ''
  // It has read a wish once it reports its version, or a later one, whatever held since.
  const isRead = (reported?.version ?? 0) >= (desired.version ?? 0)
  return isRead ? 'It was changed since, by a command or at the device: set it again to have it.' : 'The device has not taken it yet.'
}

export class DeviceSettings {
  constructor(device, refresh) {
    this.device = device
    this.refresh = refresh
    this.rows = new Map(Object.keys(SETTINGS).map((key) => [key, this.row(key)]))
    this.none = h('p', { class: 'none' }, 'Nobody may set anything from here: see [commands] settings in its configuration.')
    this.node = h('section', { class: 'card', 'aria-label': 'Settings that stay' }, h('h2', {}, 'Settings that stay'), this.none, [...this.rows.values()].map(({ node }) => node))
  }

  row(key) {
    const { label, hint, choices } = SETTINGS[key]
    const id = `setting-${key}`
    const value = h('span', { class: 'value' }, UNKNOWN)
    const said = h('p', { class: 'more', id: `${id}-said` })
    const input = choices
      ? h('select', { id, 'aria-describedby': `${id}-said` }, choices.map((one) => h('option', {}, one)))
      : h('input', { id, placeholder: hint, size: '12', maxlength: '30', autocomplete: 'off', 'aria-describedby': `${id}-said` })
    const form = h('form', { class: 'row', on: { submit: (event) => this.submit(event, key) } }, h('label', { for: id }, label), value, input, h('button', { type: 'submit', class: 'quiet', 'aria-label': `Set: ${label}`, hidden: isViewer() }, 'Set'))
    input.hidden = isViewer()
    return { node: h('div', { class: 'setting' }, form, said), value, said, input }
  }

  show({ settings, desired, reported }) {
    const allowed = settings ?? []
    this.version = desired?.version ?? 0
    this.asked = Object.fromEntries(Object.entries(desired?.settings ?? {}).filter(([key]) => allowed.includes(key)))
    this.none.hidden = allowed.length > 0
    for (const [key, { node, value, said }] of this.rows) {
      node.hidden = !allowed.includes(key)
      const { show } = SETTINGS[key]
      const has = reported?.settings ?? {}
      setText(value, Object.hasOwn(has, key) ? show(has[key]) : UNKNOWN)
      const refusal = reported?.errors?.[key]
      const reason = why(key, desired, reported)
      attribute(node, 'data-tone', refusal ? 'bad' : reason ? 'warn' : null)
      const asked = reason ? `Asked for: ${show(desired.settings[key])}. ` : ''
      setText(said, refusal ? `${asked}Refused: ${refusal}` : `${asked}${reason}`)
    }
  }

  async submit(event, key) {
    event.preventDefault()
    const { input } = this.rows.get(key)
    const value = SETTINGS[key].parse(input.value.trim())
    if (value === undefined) return announce(`“${input.value}” does not fit: write it like ${key === 'telemetry_interval_s' ? '60, in seconds' : '250 kB/s, or none'}.`, 'bad')
    try {
      await send('PUT', `${devicePath(this.device)}/desired`, { settings: { ...this.asked, [key]: value } }, this.version)
      if (input instanceof HTMLInputElement) input.value = ''
      announce(`${SETTINGS[key].label}: asked for. It holds as soon as the device has seen it, and after each restart.`)
      this.refresh()
    } catch (error) {
      announce(`${SETTINGS[key].label}: ${reason(error)}`, 'bad')
      if (error.code === 'precondition-failed') this.refresh()
    }
  }
}

function parseLimit(text) {
  if (/^(0|none|no)$/i.test(text)) return null
  const value = typedRate(text)
  return Number.isFinite(value) ? value : undefined
}

function parseSeconds(text) {
  return /^[0-9]{1,6}$/.test(text) ? Number(text) : undefined
}
