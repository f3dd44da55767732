/**
 * Elements, made and kept up to date.
 *
 * A name comes from a device and may be anything, so all text goes in as a text node: nothing here, and
 * nothing in this folder, gives the browser HTML to read.
 */

import { serverNow } from './clock.js'
import { ago, duration, localTime, instant, said, utc, UNKNOWN } from './text.js'

const SVG = 'http://www.w3.org/2000/svg'

/**
 * Make an element: h('button', {class: 'quiet', on: {click}}, 'Pause').
 * @param {string} tag
 * @param {object} properties attributes by their names; `on` has listeners; null and false leave one out
 */
export function h(tag, properties = {}, ...children) {
  return filled(document.createElement(tag), properties, children)
}

export function svg(tag, properties = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), properties, children)
}

function filled(node, { on = {}, ...attributes }, children) {
  for (const [name, value] of Object.entries(attributes)) attribute(node, name, value)
  for (const [event, listener] of Object.entries(on)) node.addEventListener(event, listener)
  node.append(...children.flat().filter((one) => one !== null && one !== undefined && one !== false))
  return node
}

/** Set or take away an attribute, only where it differs: what does not change costs no layout. */
export function attribute(node, name, value) {
  if (value === null || value === undefined || value === false) {
    if (node.hasAttribute(name)) node.removeAttribute(name)
  } else {
    const text = value === true ? '' : String(value)
    if (node.getAttribute(name) !== text) node.setAttribute(name, text)
  }
}

export function setText(node, text) {
  const shown = said(text)
  if (node.textContent !== shown) node.textContent = shown
}

/** A name that somebody else chose: its direction does not leak into the sentence around it. */
export function named(text, properties = {}) {
  return h('bdi', { dir: 'auto', ...properties }, said(text) || UNKNOWN)
}

/**
 * Let a <time> show a moment; UTC is in its title.
 * @param {'clock' | 'age' | 'span'} as the time of day, "5 min ago", or "5 min"
 */
export function setTime(node, value, as) {
  const then = instant(value)
  attribute(node, 'datetime', then === null ? null : new Date(then).toISOString())
  attribute(node, 'title', then === null ? null : utc(then))
  attribute(node, 'data-as', as)
  setText(node, shown(then, as))
}

function shown(then, as) {
  if (as === 'clock') return localTime(then, serverNow())
  if (as === 'age' || then === null) return ago(then, serverNow())
  return duration((serverNow() - then) / 1000)
}

export function time(value, as = 'clock') {
  const node = h('time')
  setTime(node, value, as)
  return node
}

/** Let all shown ages go on. */
export function tick(root = document) {
  for (const node of root.querySelectorAll('time[datetime]:not([data-as="clock"])')) {
    setText(node, shown(instant(node.getAttribute('datetime')), node.dataset.as))
  }
}

/** The children of a node that stand for values: each is made once, then kept up to date. */
export class Children {
  /**
   * @param {Element} parent has no other children
   * @param {(item: any) => any} key
   * @param {(item: any) => {node: Element, update?: (item: any) => void}} create
   */
  constructor(parent, key, create) {
    this.parent = parent
    this.key = key
    this.create = create
    this.made = new Map()
  }

  show(items) {
    const focused = document.activeElement
    const wanted = new Map()
    for (const item of items) {
      const key = this.key(item)
      const one = this.made.get(key) ?? this.create(item)
      one.update?.(item)
      wanted.set(key, one)
    }
    for (const [key, one] of this.made) if (wanted.get(key) !== one) one.node.remove()
    let at = this.parent.firstElementChild
    for (const { node } of wanted.values()) {
      if (node === at) at = at.nextElementSibling
      else this.parent.insertBefore(node, at)
    }
    this.made = wanted
    if (focused !== document.activeElement && focused?.isConnected) focused.focus({ preventScroll: true })
  }
}

const announcements = () => document.getElementById('announcements')

/** Say it to who cannot see it, and for a moment to who can. */
export function announce(sentence, tone = 'good') {
  const note = h('p', { class: `note ${tone}` }, sentence)
  announcements()?.append(note)
  setTimeout(() => note.remove(), tone === 'bad' ? 12_000 : 6_000)
}

export function copyButton(text, label) {
  const button = h('button', { type: 'button', class: 'quiet small', 'aria-label': label, title: label }, 'Copy')
  button.addEventListener('click', async () => {
    try {
      await navigator.clipboard.writeText(typeof text === 'function' ? text() : text)
      setText(button, 'Copied')
    } catch {
      setText(button, 'Select it by hand')
    }
    setTimeout(() => setText(button, 'Copy'), 2000)
  })
  return button
}
