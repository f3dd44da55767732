/**
 * Numbers, times and names as a person reads them. Nothing here touches the page or the clock.
 *
 * What is not known is '–'. Between a number and its unit stands a space that does not break.
 */

export const UNKNOWN = '–'
const SPACE = '\u00a0'
const SIZES = ['B', 'kB', 'MB', 'GB', 'TB', 'PB']
const MINUTE = 60
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR
const WHOLE = new Intl.NumberFormat('en')

const isNumber = (value) => typeof value === 'number' && Number.isFinite(value)

/** @param {?number} value */
export function count(value) {
  return isNumber(value) ? WHOLE.format(value) : UNKNOWN
}

/** Return what a device said, as text; what is an object or a list is nothing that it could have meant. */
export const said = (value) => (value === null || value === undefined || typeof value === 'object' ? '' : String(value))

/** Return what a program said, with its full stop; it may begin with a name, so that stays as it is. */
export function sentence(text) {
  const words = said(text).trim()
  return !words || /[.!?…:]$/.test(words) ? words : `${words}.`
}

/** Return a sentence that begins with no name, with a large letter. */
export const capital = (text) => `${text.slice(0, 1).toLocaleUpperCase('en')}${text.slice(1)}`

/** Return how many of something: "1 file", "2 files". */
export function counted(value, one, many = `${one}s`) {
  return `${count(value)}${SPACE}${value === 1 ? one : many}`
}

/** @param {?number} value bytes; powers of 1,000, as disks and links are sold */
export function bytes(value) {
  if (!isNumber(value)) return UNKNOWN
  let power = 0
  let left = Math.abs(value)
  while (left >= 999.5 && power < SIZES.length - 1) {
    left /= 1000
    power += 1
  }
  const shown = power > 0 && left < 9.95 ? left.toFixed(1) : Math.round(left).toString()
  return `${value < 0 ? '-' : ''}${shown}${SPACE}${SIZES[power]}`
}

export function rate(value) {
  return isNumber(value) ? `${bytes(value)}/s` : UNKNOWN
}

/** @param {?number} seconds; the two largest units that say something */
export function duration(seconds) {
  if (!isNumber(seconds)) return UNKNOWN
  const s = Math.max(0, Math.round(seconds))
  if (s < MINUTE) return `${s}${SPACE}s`
  if (s < 10 * MINUTE && s % MINUTE) return `${Math.floor(s / MINUTE)}${SPACE}min ${s % MINUTE}${SPACE}s`
  if (s < HOUR) return `${Math.round(s / MINUTE)}${SPACE}min`
  if (s < DAY) return pair(s, HOUR, 'h', MINUTE, 'min')
  return pair(s, DAY, s < 2 * DAY ? 'day' : 'days', HOUR, 'h')
}

function pair(s, large, largeUnit, small, smallUnit) {
  const rest = Math.floor((s % large) / small)
  const first = `${Math.floor(s / large)}${SPACE}${largeUnit}`
  return rest && s < 10 * large ? `${first} ${rest}${SPACE}${smallUnit}` : first
}

/** Return how long ago *then* was at *now*, both in milliseconds; a clock that is ahead is "now". */
export function ago(then, now) {
  if (!isNumber(then)) return UNKNOWN
  const s = (now - then) / 1000
  if (s < 5) return 'now'
  return `${duration(s < MINUTE ? Math.floor(s / 5) * 5 : s < HOUR ? Math.floor(s / MINUTE) * MINUTE : s)} ago`
}

/** @param {?number} share between 0 and 1; never "100 %" of what is not whole */
export function share(value) {
  if (!isNumber(value)) return UNKNOWN
  const percent = Math.max(0, Math.min(1, value)) * 100
  if (percent === 0 || percent === 100) return `${percent}${SPACE}%`
  return `${Math.min(99.9, Math.max(0.1, percent)).toFixed(percent < 10 || percent > 99 ? 1 : 0)}${SPACE}%`
}

export function percent(value) {
  return isNumber(value) ? `${value.toFixed(1)}${SPACE}%` : UNKNOWN
}

export function milliseconds(value) {
  return isNumber(value) ? `${Math.round(value)}${SPACE}ms` : UNKNOWN
}

/** Return milliseconds of an RFC 3339 text or of epoch seconds; null for what is neither. */
export function instant(value) {
  if (isNumber(value)) return value * 1000
  if (typeof value !== 'string' || !value) return null
  const found = Date.parse(value)
  return Number.isNaN(found) ? null : found
}

/** Return a digest `sha-256=:<base64>:` as the hex that sha256sum prints; another text as it is. */
export function hexDigest(value) {
  const found = /^sha-256=:([A-Za-z0-9+/]{43}=):$/.exec(value ?? '')
  if (!found) return value ?? UNKNOWN
  return [...atob(found[1])].map((one) => one.charCodeAt(0).toString(16).padStart(2, '0')).join('')
}

/** Return the bytes per second that somebody typed, like "250 kB" or "1.5MB/s"; NaN: not a rate. */
export function typedRate(text) {
  const found = /^\s*([0-9]+(?:[.,][0-9]+)?)\s*(k|m|g)?(i?)b?(?:\/s)?\s*$/i.exec(text)
  if (!found) return NaN
  const base = found[3] ? 1024 : 1000
  const power = { k: 1, m: 2, g: 3 }[(found[2] ?? '').toLowerCase()] ?? 0
  return Math.round(Number(found[1].replace(',', '.')) * base ** power)
}

const two = (value) => String(value).padStart(2, '0')
const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec']

/** Return the local time of day; with its date where that is not the day of *now*. */
export function localTime(then, now) {
  if (!isNumber(then)) return UNKNOWN
  const at = new Date(then)
  const time = `${two(at.getHours())}:${two(at.getMinutes())}`
  if (at.toDateString() === new Date(now).toDateString()) return `${time}:${two(at.getSeconds())}`
  const year = at.getFullYear() === new Date(now).getFullYear() ? '' : ` ${at.getFullYear()}`
  return `${at.getDate()}${SPACE}${MONTHS[at.getMonth()]}${year} ${time}`
}

export function utc(then) {
  return isNumber(then) ? `${new Date(then).toISOString().slice(0, 19).replace('T', ' ')} UTC` : ''
}
