// What the page says of settings that were asked for. Run by test_page_files.py.
import assert from 'node:assert/strict'
import { test } from 'node:test'

const { why } = await import(new URL('../../../../ingest_server/page/device_settings.js', import.meta.url))

const asked = { version: 3, settings: { paused: false, limit_bytes_per_s: 0 } }
const has = (version, paused) => ({ version, settings: { paused, limit_bytes_per_s: null } })

test('a setting that is as it was asked for needs no word', () => {
  assert.equal(why('paused', asked, has(3, false)), '')
  assert.equal(why('limit_bytes_per_s', asked, has(3, true)), '')
  assert.equal(why('telemetry_interval_s', asked, has(3, true)), '')
})

test('a wish that the device has not read is told as such', () => {
  for (const reported of [null, {}, has(2, true)]) assert.match(why('paused', asked, reported), /has not taken it yet/)
})

test('what was set otherwise after the device had read a wish, or a later one of somebody else, is not said to come', () => {
  for (const version of [3, 100]) assert.match(why('paused', asked, has(version, true)), /changed since.*set it again/)
})
