/** Questions to the server that the page came from, and its refusals as sentences. */

import { hear } from './clock.js'
import { sentence } from './text.js'

/** Where the server is: the page may be below a path of a proxy. */
const ROOT = new URL('../', import.meta.url)
const LONGEST_MS = 15_000
const SILENT = 'The server does not answer: it is stopped, or there is no way to it.'
const STRANGE = 'This page cannot read the answer: reload the page. If that does not help, look at the proxy in front of the server.'

let csrf = null

/** Who is signed in: {mode: 'open' | 'user' | 'none', user, role: 'operator' | 'viewer', has_users}. */
export let session = { mode: 'none', user: null }

export const isViewer = () => session.role === 'viewer'

/** What the server refused, or did not answer; `message` is for a person. */
export class AskError extends Error {
  constructor(message, { status = 0, code = null, retryAfterS = null } = {}) {
    super(message)
    this.status = status
    this.code = code
    this.retryAfterS = retryAfterS
  }

  get isUnreachable() {
    return this.status === 0 || this.status === 429 || this.status >= 500
  }
}

/** Return why nothing is shown: what the server said, or that an answer is none of its answers. */
export const reason = (error) => (error instanceof AskError ? error.message : STRANGE)

export function address(path, query = {}) {
  const url = new URL(`v1/${path}`, ROOT)
  for (const [name, value] of Object.entries(query)) {
    if (value !== null && value !== undefined && value !== '') url.searchParams.set(name, value)
  }
  return url
}

export const devicePath = (device) => `fleet/devices/${encodeURIComponent(device)}`
export const recordingPath = (id) => `fleet/recordings/${encodeURIComponent(id)}`
export const partialPath = (id) => `fleet/partial/${encodeURIComponent(id)}`

/** Ask for a document. Returns {status, etag, body}; 304 has no body. */
export async function get(path, query = {}, { etag = null, signal = null } = {}) {
  const headers = etag ? { 'If-None-Match': etag } : {}
  return ask(address(path, query), { headers, signal })
}

/** Ask for a change; *match*: of just that version. */
export async function send(method, path, body, match = null) {
  const headers = { 'X-Requested-With': 'edge-uploader', 'Content-Type': 'application/json' }
  if (match !== null) headers['If-Match'] = `"${match}"`
  if (csrf) headers['X-CSRF-Token'] = csrf
  return (await ask(address(path), { method, headers, body: JSON.stringify(body ?? {}) })).body
}

async function ask(url, options) {
  const timeout = AbortSignal.timeout(LONGEST_MS)
  const signal = options.signal ? AbortSignal.any([options.signal, timeout]) : timeout
  let answer
  let text
  try {
    answer = await fetch(url, { cache: 'no-store', credentials: 'same-origin', ...options, signal })
    text = await answer.text()
  } catch (error) {
    if (options.signal?.aborted) throw error
    throw new AskError(SILENT)
  }
  hear(answer.headers.get('Date'))
  const body = parsed(text)
  if (answer.status === 304) return { status: 304, etag: answer.headers.get('ETag'), body: null }
  if (answer.ok) {
    if (text && body === undefined) throw new AskError('Somebody else answers in place of the server: a proxy, or a login page of the network.')
    return { status: answer.status, etag: answer.headers.get('ETag'), body: body ?? null }
  }
  throw refusal(answer, body)
}

function parsed(text) {
  try {
    return text ? JSON.parse(text) : null
  } catch {
    return undefined
  }
}

const GENERAL = {
  401: 'Your session has ended, and nothing was done: sign in again.',
  403: 'You may not do that.',
  404: 'There is no such thing here, or it is gone.',
  429: 'That was too often: wait a moment.',
  503: 'The server is busy or stopping: try again in a moment.',
}

function refusal(answer, problem) {
  const retryAfter = Number(answer.headers.get('Retry-After'))
  // The server's words are for programs that send tokens.
  const hasEnded = answer.status === 401 && session.mode === 'user'
  const said = hasEnded ? GENERAL[401] : problem?.detail || problem?.title || GENERAL[answer.status]
  return new AskError(sentence(said || `The server answers ${answer.status}`), {
    status: answer.status,
    code: problem?.code ?? null,
    retryAfterS: Number.isFinite(retryAfter) && retryAfter > 0 ? retryAfter : null,
  })
}

/**
 * Ask for the first byte of what is at *path*, a recording or a part of one; return why there is none, as a sentence, or null.
 *
 * A server that reads the whole file first may take long: that is no reason.
 */
export async function whyNoContent(path) {
  const options = { headers: { Range: 'bytes=0-0' }, cache: 'no-store', credentials: 'same-origin' }
  try {
    const answer = await fetch(address(`${path}/content`), { ...options, signal: AbortSignal.timeout(LONGEST_MS) })
    if (!answer.ok && answer.status !== 416) return refusal(answer, parsed(await answer.text())).message
    await answer.body?.cancel()
    return null
  } catch (error) {
    return error.name === 'TimeoutError' ? null : SILENT
  }
}

export async function readSession() {
  const { body } = await get('session')
  session = body
  csrf = body.csrf ?? null
  return session
}

export async function signIn(user, password) {
  await send('POST', 'session', { user, password })
  return readSession()
}

export async function signOut() {
  await send('DELETE', 'session')
  return readSession()
}
