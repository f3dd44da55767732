/** A recording, or what has arrived of one, played in place. */

import { address, recordingPath, whyNoContent } from './api.js'
import { h, named, setText } from './dom.js'
import { capital } from './text.js'

const PICTURES = /\.(jpe?g|png|gif|webp|avif|bmp)$/i
const SOUNDS = /\.(mp3|wav|flac|ogg|opus|m4a|aac)$/i

/** @param {object} query what the content is asked for with */
export function play(recording, path = recordingPath(recording.upload_id), query = {}) {
  const source = String(address(`${path}/content`, query))
  const said = h('p', { class: 'said bad', role: 'alert' })
  const shown = medium(recording.name, source)
  shown.addEventListener('error', async () => {
    if (!dialog.isConnected) return
    setText(said, capital((await whyNoContent(path)) ?? 'This browser cannot show it. Download it instead.'))
  })
  const close = h('button', { type: 'button', class: 'quiet', on: { click: () => dialog.close() } }, 'Close')
  const dialog = h('dialog', { class: 'player', 'aria-label': recording.name },
    h('div', { class: 'head' }, named(recording.name, { class: 'file' }), close), shown, said)
  dialog.addEventListener('close', () => {
    // Else the browser goes on reading a long video that nobody watches.
    shown.removeAttribute('src')
    shown.load?.()
    dialog.remove()
  })
  document.body.append(dialog)
  dialog.showModal()
}

export const kindOf = (name) => (PICTURES.test(name) ? 'picture' : SOUNDS.test(name) ? 'sound' : 'video')

function medium(name, source) {
  const kind = kindOf(name)
  if (kind === 'picture') return h('img', { src: source, alt: name })
  if (kind === 'sound') return h('audio', { src: source, controls: true, autoplay: true })
  return h('video', { src: source, controls: true, autoplay: true, playsinline: true })
}
