// A person's browser: begins to upload, loses the network, reloads the page, and lets it finish.
import { createServer } from 'node:http'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { build } from 'esbuild'
import puppeteer from 'puppeteer-core'

const asked = JSON.parse(process.argv[2])
const built = await build({
  entryPoints: [new URL(asked.page ?? 'page.mjs', import.meta.url).pathname],
  bundle: true,
  write: false,
  format: 'iife',
  logLevel: 'error',
})
const script = built.outputFiles[0].text
const html = `<!doctype html><meta charset="utf-8"><title>upload</title><script>${script.replaceAll('</script', '<\\/script')}</script>`
const site = createServer((request, response) => {
  response.setHeader('Content-Type', 'text/html')
  response.end(html)
})
await new Promise((resolve) => site.listen(asked.pagePort, '127.0.0.1', resolve))

const profile = mkdtempSync(join(tmpdir(), 'page-'))
const browser = await puppeteer.launch({
  executablePath: asked.chromium,
  userDataDir: profile,
  args: [
    '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-dev-shm-usage',
    '--disable-background-networking', '--disable-component-update', '--disable-sync',
  ],
})
const told = { offline: 0, reload: 0 }
try {
  const page = await browser.newPage()
  page.setDefaultTimeout(asked.timeoutMs)
  await page.goto(`http://127.0.0.1:${asked.pagePort}/`)
  const network = await page.createCDPSession()
  await network.send('Network.enable')
  const throttle = (offline, bytesPerSecond) =>
    network.send('Network.emulateNetworkConditions', {
      offline, latency: 0, downloadThroughput: -1, uploadThroughput: bytesPerSecond,
    })
  const sent = () => page.evaluate(() => window.state.sent)
  const until = (share) =>
    page.waitForFunction((least) => window.state.sent >= least, { polling: 20 }, asked.lengths.reduce((sum, one) => sum + one, 0) * share)

  if (asked.interrupt) {
    await throttle(false, asked.bytesPerSecond)
    await page.evaluate((one) => window.begin(one), asked)
    await until(0.2)
    await throttle(true, -1)
    told.offline = await sent()
    await new Promise((resolve) => setTimeout(resolve, 1500))
    await throttle(false, asked.bytesPerSecond)
    await until(0.6)
    told.reload = await sent()
    await page.reload()
    await throttle(false, -1)
  }
  await page.evaluate((one) => window.begin(one), asked)
  await page.waitForFunction(() => window.state.finished !== null, { polling: 50 })
  Object.assign(told, await page.evaluate(() => window.state))
} finally {
  await browser.close()
  site.close()
  rmSync(profile, { recursive: true, force: true })
}
console.log(JSON.stringify(told))
process.exit(0)
