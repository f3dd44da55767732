/** The fleet as the server told it, and the rows that a person wants to see. Pure. */

const COLLATOR = new Intl.Collator('en', { numeric: true, sensitivity: 'base' })

/** What a column is sorted by, and whether a first click puts the largest on top. */
export const ORDERS = {
  trouble: [(row) => row.trouble, true],
  device: [(row) => row.device, false],
  state: [(row) => row.state, false],
  pending: [(row) => row.pending_bytes, true],
  oldest: [(row) => -oldestSince(row) || null, true],
  failed: [(row) => row.failed, true],
  rate: [(row) => row.rate_bytes_per_s, true],
  rtt: [(row) => row.link?.rtt_ms, true],
  disk: [(row) => row.disk?.free, false],
  seen: [(row) => (row.last_seen ? Date.parse(row.last_seen) : null), true],
  availability: [(row) => row.availability_7d, false],
  version: [(row) => row.version, false],
}

/** Return since when the oldest recording waits, in milliseconds: its age was told when the row was. */
export function oldestSince(row) {
  const told = Date.parse(row.last_seen ?? '')
  return typeof row.oldest_age_s === 'number' && !Number.isNaN(told) ? told - row.oldest_age_s * 1000 : null
}

const NO_NOTICES = { devices: 0, undelivered: [], nobody: 0, waiting: 0, unknown: 0, given_up: [] }

export class Fleet {
  constructor() {
    /** @type {Map<string, object>} */
    this.rows = new Map()
    this.tiles = null
    this.stuck = []
    this.stuckInAll = 0
    this.notices = NO_NOTICES
    this.cursor = null
  }

  /** Take one answer in: all of it, or what has changed since the one before. */
  apply(answer) {
    if (answer.is_whole) this.rows.clear()
    for (const name of answer.gone ?? []) this.rows.delete(name)
    for (const row of answer.devices ?? []) this.rows.set(row.device, row)
    this.tiles = answer.tiles ?? this.tiles
    this.stuck = answer.stuck ?? this.stuck
    this.stuckInAll = answer.stuck_in_all ?? this.stuck.length
    this.notices = { ...NO_NOTICES, ...answer.notices }
    this.cursor = answer.cursor ?? null
  }
}

/** Return whether each word of *search* is somewhere in what the row shows. */
export function matches(row, search) {
  const words = search.toLocaleLowerCase().split(/\s+/).filter(Boolean)
  if (!words.length) return true
  const text = [
    row.device, row.presence, row.state, row.blocked_by, row.version, row.current?.name, row.link?.iface,
    ...(row.problems ?? []),
  ].join('\n').toLocaleLowerCase()
  return words.every((word) => text.includes(word))
}

export const FILTERS = {
  online: (row) => row.presence === 'online',
  late: (row) => row.presence === 'late',
  offline: (row) => row.presence === 'offline',
  pending: (row) => row.pending_files > 0,
  failed: (row) => row.failed > 0,
  oldest: (row) => row.oldest_age_s !== null && row.oldest_age_s !== undefined,
  told: (row) => row.notices?.length > 0,
}

/** Return the rows in the wished order; what is not known comes last in both directions. */
export function sorted(rows, order, isDescending) {
  const [of] = ORDERS[order]
  const keyed = rows.map((row) => [of(row) ?? null, row])
  const sign = isDescending ? -1 : 1
  keyed.sort(([a, one], [b, other]) => {
    if (a === null || b === null) return a === b ? byName(one, other) : a === null ? 1 : -1
    return sign * compared(a, b) || byName(one, other)
  })
  return keyed.map(([, row]) => row)
}

const byName = (one, other) => COLLATOR.compare(one.device, other.device)

function compared(a, b) {
  if (Array.isArray(a) && Array.isArray(b)) {
    for (let at = 0; at < Math.min(a.length, b.length); at += 1) {
      const found = compared(a[at], b[at])
      if (found) return found
    }
    return a.length - b.length
  }
  if (typeof a === 'string') return COLLATOR.compare(a, String(b))
  return a - b
}
