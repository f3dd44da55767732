// What the page decides without a browser. Run by test_page_text.py, or: node --test tests/unit/ingest_server/page
import assert from 'node:assert/strict'
import { test } from 'node:test'

process.env.TZ = 'Europe/Berlin'
const page = (name) => import(new URL(`../../../../ingest_server/page/${name}.js`, import.meta.url))
const text = await page('text')
const rows = await page('rows')
const pace = await page('pace')
const days = await page('days')
const words = await page('words')
const holds = await page('device_holds')
const fleet = await page('fleet_view')
const told = await page('device_told')
const newest = await page('newest')

const plain = (shown) => shown.replaceAll('\u00a0', ' ')

test('a size has its unit, and never four digits', () => {
  const said = [0, 1, 999, 1000, 9_949_999, 9_960_000, 999_499, 999_500, 48e9, 4.2e12, 7e18].map((one) => plain(text.bytes(one)))
  assert.deepEqual(said, ['0 B', '1 B', '999 B', '1.0 kB', '9.9 MB', '10 MB', '999 kB', '1.0 MB', '48 GB', '4.2 TB', '7000 PB'])
})

test('what a program said ends, and a name in front of it keeps its letters', () => {
  assert.deepEqual(['drone-7 is busy', 'Too often.', 'وقت', '', null].map(text.sentence), ['drone-7 is busy.', 'Too often.', 'وقت.', '', ''])
  assert.deepEqual(['the password is wrong.', ''].map(text.capital), ['The password is wrong.', ''])
})

test('what is not known is no zero', () => {
  for (const shown of [text.bytes, text.rate, text.duration, text.count, text.share, text.percent, text.milliseconds]) {
    for (const value of [null, undefined, NaN, '7', Infinity]) assert.equal(shown(value), text.UNKNOWN)
  }
  assert.equal(text.ago(null, 0), text.UNKNOWN)
  assert.equal(text.localTime(null, 0), text.UNKNOWN)
})

test('a span is told in two units at most', () => {
  const said = [0, 59, 60, 61, 599, 3599, 3600, 7380, 86_399, 86_400, 3 * 86_400 + 4000, 40 * 86_400 + 7200].map((one) => plain(text.duration(one)))
  assert.deepEqual(said, ['0 s', '59 s', '1 min', '1 min 1 s', '9 min 59 s', '60 min', '1 h', '2 h 3 min', '23 h', '1 day', '3 days 1 h', '40 days'])
})

test('an age is told in steps that do not flicker, and a clock that is ahead is now', () => {
  assert.deepEqual([-9e6, 4000, 9000, 59_000, 119_000].map((one) => plain(text.ago(0, one))), ['now', 'now', '5 s ago', '55 s ago', '1 min ago'])
})

test('a share of not quite all is never all', () => {
  assert.deepEqual([0, 0.00001, 0.41, 0.9996, 1].map((one) => plain(text.share(one))), ['0 %', '0.1 %', '41 %', '99.9 %', '100 %'])
})

test('a rate is read as people write it, and nothing else is', () => {
  const read = ['0', '250 kB/s', '250kb', '1.5 MB/s', '1,5m', '2 MiB', ' 80000 '].map(text.typedRate)
  assert.deepEqual(read, [0, 250_000, 250_000, 1_500_000, 1_500_000, 2_097_152, 80_000])
  for (const bad of ['', 'fast', '-5', '1e9', '5 kB x', '٥']) assert.ok(Number.isNaN(text.typedRate(bad)), bad)
})

test('a digest is shown as sha256sum prints it', () => {
  const empty = 'sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:'
  assert.equal(text.hexDigest(empty), 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855')
  assert.equal(text.hexDigest('md5=:xx:'), 'md5=:xx:')
  assert.equal(text.hexDigest(null), text.UNKNOWN)
})

test('a time of another day says which day', () => {
  const now = Date.parse('2026-11-29T14:03:11Z')
  assert.equal(text.localTime(now - 60_000, now), '15:02:11')
  assert.equal(plain(text.localTime(now - 86_400_000, now)), '28 Nov 15:03')
  assert.equal(plain(text.localTime(now - 366 * 86_400_000, now)), '28 Nov 2025 15:03')
  assert.equal(text.utc(now), '2026-11-29 14:03:11 UTC')
})

const row = (device, more = {}) => ({ device, presence: 'online', trouble: 0, problems: [], ...more })

test('a delta changes what it names, and takes away what is gone', () => {
  const fleet = new rows.Fleet()
  fleet.apply({ cursor: 'a-1', is_whole: true, tiles: { devices: 2 }, stuck: [], devices: [row('a'), row('b')] })
  fleet.apply({ cursor: 'a-2', is_whole: false, gone: ['a'], stuck: [{ device: 'b' }], stuck_in_all: 70, devices: [row('b', { failed: 1 })] })
  assert.deepEqual([...fleet.rows.keys()], ['b'])
  assert.equal(fleet.rows.get('b').failed, 1)
  assert.equal(fleet.stuckInAll, 70)
  assert.deepEqual(fleet.tiles, { devices: 2 })
  fleet.apply({ cursor: 'b-1', is_whole: true, devices: [row('c')] })
  assert.deepEqual([...fleet.rows.keys()], ['c'])
})

test('an older server that tells less of what people were told is understood', () => {
  const fleet = new rows.Fleet()
  fleet.apply({ cursor: 'a-1', is_whole: true, devices: [], notices: { devices: 1, undelivered: [] } })
  assert.deepEqual(fleet.notices, { devices: 1, undelivered: [], nobody: 0, waiting: 0, unknown: 0, given_up: [] })
})

test('the worst comes first, equals by name as a person counts, and the unknown last both ways', () => {
  const names = (found) => found.map((one) => one.device)
  const some = [row('pi-10'), row('pi-9'), row('bad', { trouble: 98 }), row('odd', { trouble: null })]
  assert.deepEqual(names(rows.sorted(some, 'trouble', true)), ['bad', 'pi-9', 'pi-10', 'odd'])
  assert.deepEqual(names(rows.sorted(some, 'trouble', false)), ['pi-9', 'pi-10', 'bad', 'odd'])
})

test('the oldest is older by how long its device has been silent', () => {
  const silent = row('silent', { oldest_age_s: 60, last_seen: '2026-11-29T10:00:00Z' })
  const talking = row('talking', { oldest_age_s: 600, last_seen: '2026-11-29T14:00:00Z' })
  assert.deepEqual(rows.sorted([talking, silent, row('idle')], 'oldest', true).map((one) => one.device), ['silent', 'talking', 'idle'])
})

test('a search takes each word, in any script and case', () => {
  const one = row('طائرة-٠٧', { state: 'blocked', problems: ['disk_low'] })
  for (const search of ['', 'طائرة', 'BLOCKED disk', 'low  ٠٧']) assert.ok(rows.matches(one, search), search)
  for (const search of ['طائرة-٠٨', 'blocked idle']) assert.ok(!rows.matches(one, search), search)
})

test('a server that fails is asked less and less, and nobody asks in one moment', () => {
  assert.equal(pace.delayS(0, false, 0.5), 1.5)
  assert.equal(pace.delayS(0, true, 0.5), 30)
  assert.deepEqual([1, 2, 3, 5, 6, 99, 1e9].map((failures) => pace.delayS(failures, false, 1)), [1.5, 3, 6, 24, 48, 60, 60])
  assert.equal(pace.delayS(6, false, 0), 24)
  assert.equal(pace.delayS(1, true, 0), 30)
  assert.deepEqual([pace.delayS(0, false, 0, 10), pace.delayS(0, true, 0, 10), pace.delayS(1, false, 1, 10)], [10, 30, 1.5])
})

test('what comes stands on top, what was read stays, and what has moved or gone stands there once', () => {
  const listed = (names, following = null) => ({ rows: [...names].map((name) => ({ name })), following })
  const joined = (known, fresh) => {
    const { rows: found, following } = newest.joined(known, fresh, (one) => one.name)
    return [found.map((one) => one.name).join(''), following]
  }
  assert.deepEqual(joined(listed('abcdef', '6'), listed('xab', '3')), ['xabcdef', '6'])
  assert.deepEqual(joined(listed('abcdef', '6'), listed('fab', '3')), ['fabcde', '6'])
  assert.deepEqual(joined(listed('abcdef', '6'), listed('acd', '3')), ['acdef', '6'])
  assert.deepEqual(joined(listed('abc', '3'), listed('xabc', '4')), ['xabc', '4'])
  assert.deepEqual(joined(listed('abc', '3'), listed('xyz', '3')), ['xyz', '3'])
  assert.deepEqual(joined(listed('abc'), listed('')), ['', null])
})

test('a list that is left open does not grow for ever', () => {
  const numbered = (count, first) => Array.from({ length: count }, (_, n) => first + n)
  const fresh = { rows: numbered(20, 0), following: 'b' }
  const shown = (count) => newest.joined({ rows: numbered(count, 1), following: 'a' }, fresh, (one) => one)
  assert.deepEqual([shown(500).rows.length, shown(500).following], [501, 'a'])
  assert.equal(shown(5000), fresh)
})

test('a day is the day here, whatever the clocks did in it', () => {
  assert.equal(days.dayStart('2026-11-29'), '2026-11-28T23:00:00Z')
  assert.equal(days.dayEnd('2026-10-25'), '2026-10-25T23:00:00Z')
  assert.equal(days.dayStart('2026-10-25'), '2026-10-24T22:00:00Z')
  for (const bad of ['', null, 'today', '29.11.2026']) assert.equal(days.dayStart(bad), null)
})

test('a code of a newer agent is shown, and is no property of an object', () => {
  assert.equal(words.problem('warp_core').word, 'warp core')
  assert.equal(words.reasonWord('constructor'), 'constructor')
  assert.equal(words.eventWord('edgeup.file.completed'), 'Verified by the server')
  assert.equal(words.commandStanding({ status: 'sent' }).isOver, false)
  assert.equal(words.commandStanding({ status: 'waiting' }).isOver, false)
  assert.equal(words.commandStanding({ status: 'duplicate', code: 'ok' }).word, 'done')
  assert.equal(words.commandStanding({ status: 'duplicate', code: 'timeout' }).word, 'failed')
})

test('a part of a name is no pattern, and not two of them', () => {
  const asked = (name) => holds.fetchArguments({ name }, false).query.name
  assert.deepEqual(['x|', 'a*b', 'تسجيل', '[1]'].map(asked), ['*x?*', '*a[*]b*', '*تسجيل*', '*[[]1]*'])
})

test('what nobody takes, is on its way or is kept no more is not said to have come', () => {
  const came = (more) => fleet.cameTo({ undelivered: [], nobody: 0, waiting: 0, unknown: 0, ...more })
  assert.equal(came({}), '; all targets have received it.')
  assert.equal(came({ undelivered: [{ to: 'a' }] }), '.')
  assert.equal(came({ unknown: 1 }), '.')
  assert.match(plain(came({ nobody: 1, waiting: 2 })), /^\. For 1 device, there is nobody to tell: set up .* For 2 devices, it is on its way\.$/)
})

test('what is not handed on yet is not said to go to nobody', () => {
  assert.equal(told.nobodySentence({ to: [], handed_on: false }), 'It is on its way.')
  assert.match(told.nobodySentence({ to: [], handed_on: true }), /^Nobody takes it: /)
  assert.match(told.nobodySentence({ to: null, handed_on: true }), /is kept no more\.$/)
})

test('who is told no more of what it has not got is named with what to do', () => {
  const said = plain(fleet.givenUpSentence({ to: 'a', count: 2, error: 'it answered 500' }))
  assert.equal(said, ' did not receive 2 events, which the server gave up: it answered 500. Repair that target, then run "ingest-server webhook replay dead".')
})

test('a webhook that fails is not hidden by another of its host that was given up', () => {
  const failing = { to: 'a', state: 'failing' }
  const undelivered = [failing, { to: 'a', state: 'given_up' }, { to: 'b', state: 'given_up' }]
  assert.deepEqual(fleet.stillTried({ undelivered, given_up: [{ to: 'a' }] }), [failing, undelivered[2]])
})

test('what a device says that is no text is not shown as one', () => {
  assert.deepEqual([{ a: 1 }, ['x'], null, undefined, 'Pi 5', 0].map(text.said), ['', '', '', '', 'Pi 5', '0'])
})

test('two webhooks of one host do not hide each other', () => {
  const keys = told.waysOf([{ to: 'hooks.example.org', state: 'failing' }, { to: 'hooks.example.org', state: 'told' }]).map((way) => way.key)
  assert.equal(new Set(keys).size, 2)
  assert.deepEqual(told.waysOf(null), [])
})
