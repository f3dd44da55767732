/** The rate of the last day as a plot: an area, its scale, and a strip that says when it was there. */

import { serverNow } from './clock.js'
import { h, setText, svg } from './dom.js'
import { bytes, instant, localTime, rate, UNKNOWN } from './text.js'

const HEIGHT = 190
const LEFT = 64
const RIGHT = 8
const TOP = 10
const BOTTOM = 34
const STRIP = 6
const HOUR_MS = 3_600_000

/** Return a round number not below *value*: the top of the scale. */
export function roundTop(value) {
  if (!(value > 0)) return 1000
  const power = 10 ** Math.floor(Math.log10(value))
  return [1, 2, 4, 5, 10].map((step) => step * power).find((top) => top >= value)
}

/** Return [from, to) of each run of equal values. */
export function runs(values) {
  const found = []
  values.forEach((value, at) => {
    const last = found.at(-1)
    if (last && last.value === value) last.stop = at + 1
    else found.push({ value, start: at, stop: at + 1 })
  })
  return found
}

export class Plot {
  constructor() {
    this.said = h('p', { class: 'said', 'aria-live': 'off' }, UNKNOWN)
    this.width = 0
    this.chart = svg('svg', { class: 'plot', role: 'img', tabindex: '0', 'aria-label': 'No history yet' })
    this.node = h('figure', { class: 'figure' }, this.chart, this.said)
    this.chart.addEventListener('pointermove', (event) => this.point(event))
    this.chart.addEventListener('pointerleave', () => this.leave())
    this.chart.addEventListener('keydown', (event) => this.key(event))
    this.chart.addEventListener('blur', () => this.leave())
    new ResizeObserver(() => this.fit()).observe(this.node)
  }

  /** Draw in the pixels that there are: a scale that is shrunk cannot be read. */
  fit() {
    if (this.node.clientWidth === this.width) return
    this.width = this.node.clientWidth
    this.chart.setAttribute('viewBox', `0 0 ${this.width} ${HEIGHT}`)
    if (this.history) this.show(this.history)
  }

  show(history) {
    this.history = history
    if (!this.width) return
    const { rate: rates = [], step_s: step = 60 } = history
    this.from = instant(history.from) ?? serverNow() - rates.length * step * 1000
    this.step = step * 1000
    const known = rates.filter((value) => typeof value === 'number')
    const top = roundTop(Math.max(0, ...known))
    this.summary = known.length
      ? `At most ${rate(Math.max(...known))} in the last ${Math.round((rates.length * step) / 3600)} h, each minute as a whole.`
      : 'No rate was told in this time.'
    this.chart.setAttribute('aria-label', `Rate of the last day. ${this.summary} Left and right arrow keys read single values.`)
    this.cursor = svg('line', { class: 'cursor', y1: TOP, y2: HEIGHT - BOTTOM, x1: -9, x2: -9 })
    this.chart.replaceChildren(...scale(top, this.width), ...this.hours(rates.length), ...this.areas(rates, top), ...this.strip(history.presence ?? []), this.cursor)
    this.leave()
  }

  /** Say why there is nothing to draw; what was drawn before stays. */
  none(why) {
    this.summary = why
    this.leave()
  }

  x(at) {
    const { rate: rates } = this.history
    return LEFT + (at / Math.max(1, rates.length)) * (this.width - LEFT - RIGHT)
  }

  /** One shape for each stretch that was told of: what nobody knows is no zero. */
  areas(rates, top) {
    const bottom = HEIGHT - BOTTOM
    const y = (value) => bottom - (value / top) * (bottom - TOP)
    const told = runs(rates.map((value) => typeof value === 'number')).filter((run) => run.value)
    return told.flatMap(({ start, stop }) => {
      const line = []
      for (let at = start; at < stop; at += 1) {
        line.push(`${this.x(at).toFixed(1)},${y(rates[at]).toFixed(1)}`, `${this.x(at + 1).toFixed(1)},${y(rates[at]).toFixed(1)}`)
      }
      const points = line.join(' ')
      const ends = [`${this.x(stop).toFixed(1)},${bottom}`, `${this.x(start).toFixed(1)},${bottom}`].join(' ')
      return [svg('polygon', { class: 'area', points: `${points} ${ends}` }), svg('polyline', { class: 'line', points })]
    })
  }

  hours(length) {
    const nodes = []
    const stop = this.from + length * this.step
    const every = stop - this.from > 12 * HOUR_MS ? (this.width < 500 ? 6 : 4) : 1
    const first = new Date(this.from)
    first.setMinutes(0, 0, 0)
    for (let at = first.getTime() + HOUR_MS; at < stop; at += HOUR_MS) {
      const hour = new Date(at).getHours()
      if (hour % every) continue
      const x = this.x((at - this.from) / this.step)
      nodes.push(svg('line', { class: 'grid', x1: x, x2: x, y1: TOP, y2: HEIGHT - BOTTOM }))
      if (x > LEFT + 12 && x < this.width - 18) nodes.push(svg('text', { x, y: HEIGHT - 6, 'text-anchor': 'middle' }, `${String(hour).padStart(2, '0')}:00`))
    }
    return nodes
  }

  strip(presence) {
    const y = HEIGHT - BOTTOM + 5
    return runs(presence.map(presenceOf)).map(({ value, start, stop }) =>
      svg('rect', { class: `strip ${value ?? 'unknown'}`, x: this.x(start), y, width: Math.max(0.5, this.x(stop) - this.x(start)), height: STRIP }))
  }

  point(event) {
    const box = this.chart.getBoundingClientRect()
    const x = event.clientX - box.left
    this.tell(Math.floor(((x - LEFT) / (this.width - LEFT - RIGHT)) * (this.history?.rate.length ?? 0)))
  }

  key(event) {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key]
    if (!by || !this.history) return
    event.preventDefault()
    this.tell((this.at ?? this.history.rate.length) + by)
    this.said.setAttribute('aria-live', 'polite')
  }

  tell(at) {
    const { rate: rates = [], presence = [], pending = [] } = this.history ?? {}
    if (!rates.length) return
    this.at = Math.min(Math.max(0, at), rates.length - 1)
    const x = this.x(this.at + 0.5)
    this.cursor.setAttribute('x1', x)
    this.cursor.setAttribute('x2', x)
    const parts = [localTime(this.from + this.at * this.step, serverNow()), rate(rates[this.at]), presenceOf(presence[this.at]) ?? 'not known']
    if (typeof pending[this.at] === 'number') parts.push(`${bytes(pending[this.at])} pending`)
    setText(this.said, parts.join(' · '))
  }

  leave() {
    this.at = null
    this.cursor?.setAttribute('x1', -9)
    this.cursor?.setAttribute('x2', -9)
    this.said.setAttribute('aria-live', 'off')
    setText(this.said, this.summary ?? UNKNOWN)
  }
}

/** Presence comes as a word, or as the share of the time that it was online. */
function presenceOf(told) {
  if (typeof told !== 'number') return told ?? null
  return told > 0.99 ? 'online' : told > 0 ? 'late' : 'offline'
}

function scale(top, width) {
  const bottom = HEIGHT - BOTTOM
  return [0, 0.5, 1].flatMap((part) => {
    const y = bottom - part * (bottom - TOP)
    return [
      svg('line', { class: 'grid', x1: LEFT, x2: width - RIGHT, y1: y, y2: y }),
      svg('text', { x: LEFT - 8, y: y + 4, 'text-anchor': 'end' }, part ? rate(top * part) : '0'),
    ]
  })
}
