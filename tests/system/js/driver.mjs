// A person's browser that does what it is told: one JSON command a line, one JSON answer a line.
import { readFileSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { createRequire } from 'node:module'
import puppeteer from 'puppeteer-core'

const asked = JSON.parse(process.argv[2])
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
const profile = mkdtempSync(join(tmpdir(), 'page-'))
const browser = await puppeteer.launch({
  executablePath: asked.chromium,
  userDataDir: profile,
  args: [
    '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-dev-shm-usage',
    '--disable-background-networking', '--disable-component-update', '--disable-sync', '--hide-scrollbars',
    '--lang=en-GB',
  ],
  env: { ...process.env, TZ: 'Europe/Berlin' },
})
let page
let network
let complaints = []
let asks = []
let answers = []

async function open() {
  page = await browser.newPage()
  page.setDefaultTimeout(asked.timeoutMs ?? 15_000)
  page.on('pageerror', (error) => complaints.push(String(error)))
  page.on('console', (message) => {
    const text = `${message.text()} ${message.location()?.url ?? ''}`
    if (message.type() === 'error' && !/Failed to load resource/.test(text)) complaints.push(text)
  })
  page.on('request', (request) => asks.push(request.url()))
  page.on('response', (answer) => answers.push({ status: answer.status(), url: answer.url(), range: answer.headers()['content-range'] ?? null }))
  network = await page.createCDPSession()
  await network.send('Network.enable')
}

const commands = {
  goto: async ({ url }) => void (await page.goto(url)),
  reload: async () => void (await page.reload()),
  back: async () => void (await page.goBack()),
  viewport: ({ width, height, scale }) => page.setViewport({ width, height, deviceScaleFactor: scale ?? 1 }),
  scheme: ({ value }) => page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value }]),
  onEachDocument: async ({ code }) => void (await page.evaluateOnNewDocument(code)),
  cache: ({ on }) => page.setCacheEnabled(on),
  evaluate: ({ code }) => page.evaluate(code),
  wait: async ({ code }) => void (await page.waitForFunction(code, { polling: 30 })),
  click: async ({ selector }) => void (await page.locator(selector).click()),
  type: async ({ selector, text }) => void (await page.type(selector, text)),
  press: async ({ key }) => void (await page.keyboard.press(key)),
  offline: ({ value }) => network.send('Network.emulateNetworkConditions', { offline: value, latency: 0, downloadThroughput: -1, uploadThroughput: -1 }),
  screenshot: async ({ path, full }) => void (await page.screenshot({ path, fullPage: Boolean(full) })),
  complaints: () => complaints,
  asks: () => asks,
  answers: () => answers,
  axe: async () => {
    await page.evaluate(axe)
    const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ['violations'] }))
    return violations.map((one) => `${one.id}: ${one.nodes.map((node) => `${node.html.slice(0, 160)} ${node.failureSummary}`).join(' | ')}`)
  },
  fresh: async () => {
    await page.close()
    complaints = []
    asks = []
    answers = []
    await open()
  },
}

await open()
console.log(JSON.stringify({ ready: true }))
for await (const line of createInterface({ input: process.stdin })) {
  const told = JSON.parse(line)
  try {
    console.log(JSON.stringify({ value: (await commands[told.do](told)) ?? null }))
  } catch (error) {
    console.log(JSON.stringify({ error: String(error) }))
  }
}
await browser.close()
rmSync(profile, { recursive: true, force: true })
process.exit(0)
