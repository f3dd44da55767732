/** The server's clock: ages are told by it, for that of a browser may be anywhere. */

let aheadMs = 0

/** @param {?string} told the time in an answer that has just come */
export function hear(told) {
  const then = told ? Date.parse(told) : NaN
  if (!Number.isNaN(then)) aheadMs = then - Date.now()
}

export const serverNow = () => Date.now() + aheadMs
