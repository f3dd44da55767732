/** The frame of the page: which view is shown, who is signed in, and whether the server is there. */

import { readSession, session, signOut } from './api.js'
import { announce, attribute, h, setText, tick } from './dom.js'
import { Live } from './live.js'
import { capital, duration, localTime } from './text.js'

const view = document.getElementById('view')
const lost = document.getElementById('lost')
const ROUTES = [
  [/^\/$/, () => import('./fleet_view.js'), 'Fleet', '#/'],
  [/^\/device\/([^/]+)$/, () => import('./device_view.js'), 'Device', '#/'],
  [/^\/recordings$/, () => import('./recordings_view.js'), 'Recordings', '#/recordings'],
  [/^\/groups$/, () => import('./groups_view.js'), 'Groups', '#/recordings'],
  [/^\/login$/, () => import('./login_view.js'), 'Sign in', null],
]

let live = null
let shown = null
let wished = '#/'
let standing = null
let turn = 0

/** Return the path and the query of the address's fragment. */
function route() {
  const [path, query = ''] = (location.hash.slice(1) || '/').split('?')
  return { path, query: new URLSearchParams(query) }
}

async function show() {
  turn += 1
  const mine = turn
  const { path, query } = route()
  const isKept = session.mode !== 'none' && shown?.path === path
  if (isKept && shown.view.turnTo) return shown.view.turnTo(query)
  const found = ROUTES.map(([form, ...rest]) => [form.exec(path), ...rest]).find(([match]) => match)
  if (!found) return location.replace('#/')
  const [match, load, title, section] = found
  if (session.mode === 'none' && title !== 'Sign in') {
    wished = location.hash || '#/'
    return location.replace('#/login')
  }
  const { default: View } = await load()
  if (mine !== turn) return
  live?.stop()
  live = null
  shown?.view.close?.()
  const argument = match[1] === undefined ? null : decoded(match[1])
  const made = new View({ argument, query, refresh: () => live?.now(), retitle, done: entered })
  const isFirst = shown === null
  shown = { path, view: made }
  retitle(argument ?? title)
  view.replaceChildren(made.node)
  for (const link of document.querySelectorAll('#main-nav a')) {
    attribute(link, 'aria-current', link.getAttribute('href') === section ? 'page' : null)
  }
  if (!isFirst) {
    view.focus({ preventScroll: true })
    window.scrollTo(0, 0)
  }
  if (!made.step) return
  live = new Live((signal) => made.step(signal), { standing: setStanding, refused }, made.everyS)
  live.start()
}

function decoded(text) {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

function retitle(title) {
  document.title = `${title} · Edge uploader`
}

/** Take a refusal that is not mended by asking again: back to the sign-in, or what the view says. */
function refused(error) {
  if (error.status === 401) {
    session.mode = 'none'
    lost.hidden = true // the server is there; nobody says that what is shown is up to date
    if (!location.hash.startsWith('#/login')) {
      announce('Your session has ended. Sign in to go on.', 'warn')
      show()
    }
    return true
  }
  return shown?.view.refused?.(error) ?? false
}

function setStanding(told) {
  standing = told
  document.getElementById('standing').dataset.tone = told.isConnected ? 'good' : 'bad'
  setText(document.getElementById('standing-word'), told.isConnected ? 'live' : 'not connected')
  if (told.isConnected && !lost.hidden) announce('Connected again: what you see is up to date.')
  document.body.classList.toggle('is-old', !told.isConnected)
  lost.hidden = told.isConnected
  if (!told.isConnected) tellLost()
}

/** What cannot be asked, since when, what that means, and when the next try is. */
function tellLost() {
  if (!lost.firstChild) {
    const again = h('button', { type: 'button', on: { click: () => live?.now() } }, 'Try now')
    lost.append(h('p', {}, h('strong'), ' ', h('span'), ' ', h('span', { class: 'next', 'aria-hidden': 'true' })), again)
  }
  const [since, meaning, next] = lost.firstChild.children
  setText(since, `${standing.isRefused ? 'Not up to date' : 'Not connected'} since ${localTime(standing.since, Date.now())}.`)
  setText(meaning, `${capital(standing.why)} What you see is from then. The devices keep their recordings and go on by themselves.`)
  const left = Math.max(0, Math.ceil((standing.nextAt - Date.now()) / 1000))
  setText(next, standing.nextAt ? `Next try in ${duration(left)}.` : '')
}

function entered() {
  frame()
  location.replace(wished === '#/login' ? '#/' : wished)
}

function frame() {
  const button = document.getElementById('sign-out')
  button.hidden = session.mode !== 'user'
  attribute(button, 'title', session.user ? `Signed in as ${session.user}` : null)
  document.body.classList.toggle('is-out', session.mode === 'none')
}

function setTheme(chosen) {
  if (chosen) document.documentElement.dataset.theme = chosen
  else delete document.documentElement.dataset.theme
  try {
    if (chosen) localStorage.setItem('theme', chosen)
    else localStorage.removeItem('theme')
  } catch {
    // a browser that stores nothing: it holds until the page is left
  }
}

async function begin() {
  try {
    await readSession()
  } catch (error) {
    if (error.isUnreachable) {
      setStanding({ isConnected: false, since: Date.now(), nextAt: Date.now() + 4000, why: error.message })
      return setTimeout(begin, 4000)
    }
    session.mode = 'none'
  }
  setStanding({ isConnected: true, since: Date.now(), nextAt: 0, why: '' })
  frame()
  show()
}

const theme = document.getElementById('theme')
theme.value = document.documentElement.dataset.theme ?? ''
theme.addEventListener('change', () => setTheme(theme.value))
document.getElementById('sign-out').addEventListener('click', async () => {
  await signOut().catch((error) => announce(error.message, 'bad'))
  frame()
  show()
})
window.addEventListener('hashchange', show)
setInterval(() => {
  tick()
  if (standing && !standing.isConnected) tellLost()
}, 1000)
begin()
