// What runs in the page: Uppy with its tus plug-in, and a file that is the same after a reload.
import Uppy from '@uppy/core'
import Tus from '@uppy/tus'

const BLOCK = 1_000_003

// A block of xorshift32, over and over; tests/system/test_tus_clients.py makes the same bytes.
function content(length, seed) {
  const block = xorshift(Math.min(length, BLOCK), seed)
  const pieces = []
  for (let left = length; left > 0; left -= block.length) pieces.push(block.subarray(0, left))
  return pieces
}

function xorshift(length, seed) {
  const words = new Uint32Array(Math.ceil(length / 4))
  let x = seed
  for (let at = 0; at < words.length; at += 1) {
    x ^= x << 13
    x ^= x >>> 17
    x ^= x << 5
    words[at] = x
  }
  return new Uint8Array(words.buffer, 0, length)
}

window.begin = ({ endpoint, token, lengths }) => {
  const uppy = new Uppy().use(Tus, {
    endpoint,
    headers: { Authorization: `Bearer ${token}` },
    retryDelays: [100, 200, 400, 800],
    limit: 4,
  })
  window.state = { sent: 0, finished: null, failed: [] }
  const sent = {}
  uppy.on('upload-progress', (file, progress) => {
    sent[file.id] = progress.bytesUploaded
    window.state.sent = Object.values(sent).reduce((sum, one) => sum + one, 0)
  })
  uppy.on('upload-error', (file, error) => window.state.failed.push(String(error)))
  uppy.on('complete', (result) => {
    window.state.finished = result.successful.length
  })
  lengths.forEach((length, at) => {
    const name = `page-${at + 1}.mp4`
    const data = new File(content(length, at + 1), name, { type: 'video/mp4', lastModified: 1 })
    uppy.addFile({ name, type: 'video/mp4', data })
  })
  uppy.upload()
}
window.ready = true
