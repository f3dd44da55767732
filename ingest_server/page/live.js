/** Keeps what is shown up to date: asks again and again, slower where nobody looks or nobody answers. */

import { reason } from './api.js'
import { delayS } from './pace.js'

export class Live {
  /**
   * @param {(signal: AbortSignal) => Promise<void>} step asks once and shows the answer
   * @param {object} told
   * @param {(state: {isConnected: boolean, since: number, nextAt: number, why: string}) => void} told.standing
   * @param {(error: Error) => boolean} told.refused takes an error that asking again does not mend
   * @param {number} [everyS] how often it asks
   */
  constructor(step, { standing, refused }, everyS = undefined) {
    this.everyS = everyS
    this.step = step
    this.standing = standing
    this.refused = refused
    this.failures = 0
    this.lastGood = Date.now()
    this.timer = null
    this.running = null
    this.onChange = () => document.hidden || this.now()
  }

  start() {
    document.addEventListener('visibilitychange', this.onChange)
    window.addEventListener('online', this.onChange)
    return this.now()
  }

  stop() {
    document.removeEventListener('visibilitychange', this.onChange)
    window.removeEventListener('online', this.onChange)
    clearTimeout(this.timer)
    this.running?.abort()
    this.running = null
  }

  /** Ask at once; one question at a time. */
  async now() {
    clearTimeout(this.timer)
    this.running?.abort()
    const running = new AbortController()
    this.running = running
    try {
      await this.step(running.signal)
      this.failures = 0
      this.lastGood = Date.now()
      this.standing({ isConnected: true, since: this.lastGood, nextAt: 0, why: '' })
    } catch (error) {
      if (running.signal.aborted) return
      if (!error.isUnreachable) {
        if (this.refused(error)) return this.standing({ isConnected: true, since: Date.now(), nextAt: 0, why: '' })
        console.error(error)
      }
      this.failures += 1
      this.fail(error)
    }
    if (running.signal.aborted) return
    const waitS = Math.max(this.retryAfterS ?? 0, delayS(this.failures, document.hidden, Math.random(), this.everyS))
    this.retryAfterS = null
    if (this.failures) this.standing({ ...this.bad, nextAt: Date.now() + waitS * 1000 })
    this.timer = setTimeout(() => this.now(), waitS * 1000)
  }

  fail(error) {
    this.retryAfterS = error.retryAfterS ?? null
    this.bad = { isConnected: false, isRefused: error.status >= 400 && error.status < 500, since: this.lastGood, nextAt: 0, why: reason(error) }
  }
}
