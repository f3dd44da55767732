/** A recording, played in place. */

import { address, recordingPath } from './api.js'
import { h, named, setText } from './dom.js'

const PICTURES = /\.(jpe?g|png|gif|webp|avif|bmp)$/i
const SOUNDS = /\.(mp3|wav|flac|ogg|opus|m4a|aac)$/i

export function play(recording) {
  const source = String(address(`${recordingPath(recording.upload_id)}/content`))
  const said = h('p', { class: 'said bad', role: 'alert' })
  const shown = medium(recording.name, source)
  shown.addEventListener('error', () => setText(said, 'This browser cannot show it. Download it instead.'))
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

function medium(name, source) {
  if (PICTURES.test(name)) return h('img', { src: source, alt: name })
  if (SOUNDS.test(name)) return h('audio', { src: source, controls: true, autoplay: true })
  return h('video', { src: source, controls: true, autoplay: true, playsinline: true })
}
