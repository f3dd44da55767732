/** Days of the calendar, here, as moments for the server. Pure. */

/** Return when a day `2026-11-21` begins here, as RFC 3339 in UTC; null for no day. */
export function dayStart(day) {
  return moment(day, 0)
}

/** Return when it ends: when the next one begins, which a day with a change of clocks moves too. */
export function dayEnd(day) {
  return moment(day, 1)
}

function moment(day, later) {
  const found = /^(\d{4})-(\d{2})-(\d{2})$/.exec(day ?? '')
  if (!found) return null
  const at = new Date(Number(found[1]), Number(found[2]) - 1, Number(found[3]) + later)
  return Number.isNaN(at.getTime()) ? null : at.toISOString().replace('.000Z', 'Z')
}
