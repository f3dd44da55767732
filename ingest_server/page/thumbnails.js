/**
 * Small pictures of videos, made by the browser: for what is in sight, two at a time, of a few ranges each.
 *
 * A picture only helps: whatever fails, or takes long, leaves the plain tile.
 */

import { address, recordingPath } from './api.js'
import { h } from './dom.js'

const AT_ONCE = 2
const LONGEST_MS = 8_000
const WIDTH = 256

export class Thumbnails {
  constructor() {
    this.waiting = []
    this.working = 0
    this.isClosed = false
    this.of = new WeakMap()
    this.sight = new IntersectionObserver((entries) => this.seen(entries), { rootMargin: '100px' })
    this.isSaving = navigator.connection?.saveData === true
  }

  watch(tile, recording) {
    if (this.isSaving) return
    this.of.set(tile, recording)
    this.sight.observe(tile)
  }

  seen(entries) {
    for (const { target, isIntersecting } of entries) {
      if (isIntersecting) this.waiting.push(target)
      else this.waiting = this.waiting.filter((tile) => tile !== target)
    }
    this.next()
  }

  async next() {
    while (!this.isClosed && this.working < AT_ONCE && this.waiting.length) {
      const tile = this.waiting.shift()
      this.sight.unobserve(tile)
      this.working += 1
      drawn(this.of.get(tile))
        .then((picture) => picture && tile.prepend(picture))
        .finally(() => {
          this.working -= 1
          this.next()
        })
    }
  }

  close() {
    this.isClosed = true
    this.sight.disconnect()
  }
}

/** Return a canvas with a picture from early in the video; null where the browser cannot. */
async function drawn(recording) {
  const video = h('video', { preload: 'metadata', playsinline: true })
  video.muted = true
  video.src = address(`${recordingPath(recording.upload_id)}/content`)
  try {
    await happens(video, 'loadedmetadata')
    if (!video.videoWidth) return null
    video.currentTime = Math.min(1, (video.duration || 0) / 10)
    await happens(video, 'seeked')
    if (video.readyState < HTMLMediaElement.HAVE_CURRENT_DATA) await happens(video, 'loadeddata')
    const canvas = h('canvas', { width: WIDTH, height: Math.round((WIDTH * video.videoHeight) / video.videoWidth), 'aria-hidden': 'true' })
    canvas.getContext('2d').drawImage(video, 0, 0, canvas.width, canvas.height)
    return canvas
  } catch {
    return null
  } finally {
    video.removeAttribute('src')
    video.load()
  }
}

function happens(video, event) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no ${event}`)), LONGEST_MS)
    const end = (settle) => () => {
      clearTimeout(timer)
      settle(new Error(event))
    }
    video.addEventListener(event, end(resolve), { once: true })
    video.addEventListener('error', end(reject), { once: true })
  })
}
