/** When to ask the server again. Pure. */

const VISIBLE_S = 1.5
const HIDDEN_S = 30
const LONGEST_S = 60

/**
 * Return the seconds until the next question; *usualS* of them while it is answered and looked at.
 *
 * After failures `(0.5 + jitter / 2) * min(60, 1.5 * 2 ** (failures - 1))`: a server that comes back is not
 * asked by all pages in one moment.
 * @param {number} jitter a draw from [0, 1)
 */
export function delayS(failures, isHidden, jitter, usualS = VISIBLE_S) {
  const usual = isHidden ? Math.max(HIDDEN_S, usualS) : usualS
  if (!failures) return usual
  const longest = Math.min(LONGEST_S, VISIBLE_S * 2 ** Math.min(failures - 1, 10))
  return Math.max(isHidden ? HIDDEN_S : 0, longest * (0.5 + jitter / 2))
}
