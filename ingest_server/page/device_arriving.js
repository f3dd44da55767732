/** What has arrived of recordings that are not complete: to be looked at while the rest is under way, or lost. */

import { address, get, partialPath } from './api.js'
import { Children, h, named, setText, setTime, time } from './dom.js'
import { play } from './player.js'
import { bytes, counted } from './text.js'

const EVERY_MS = 10_000
const MOST = 20

export class DeviceArriving {
  constructor(device) {
    this.device = device
    this.askedAt = 0
    this.list = h('ul', { class: 'files' })
    this.items = new Children(this.list, (one) => one.upload_id, item)
    this.more = h('p', { class: 'more', hidden: true })
    this.node = h('section', { class: 'card', 'aria-label': 'Arriving', hidden: true }, h('h2', {}, 'Arriving'),
      h('p', { class: 'more' }, 'What is here of recordings that are not complete, from their beginning on. It is not verified as a whole. MPEG-TS, MKV and fragmented MP4 play as they are; other MP4 files only once they are complete.'),
      this.list, this.more)
  }

  /** It only helps: where it cannot be asked, what was shown stays, and it is asked again. */
  async step(signal) {
    if (Date.now() - this.askedAt < EVERY_MS) return
    this.askedAt = Date.now()
    try {
      const { body } = await get('fleet/partial', { device: this.device, limit: MOST }, { signal })
      const here = body.partial.filter((one) => one.arrived > 0)
      this.node.hidden = !here.length
      this.items.show(here)
      this.more.hidden = !body.next
      setText(this.more, `These are the first ${counted(MOST, 'upload')} of the device.`)
    } catch (error) {
      if (signal.aborted || error.status === 401) throw error
    }
  }
}

function item(first) {
  let newest = first
  const size = h('span', { class: 'size' })
  const since = time(first.created_at, 'age')
  const place = first.folder && first.folder !== '.' ? h('span', { class: 'folder' }, named(first.folder), '/') : null
  const playing = () => play(newest, partialPath(newest.upload_id), { until: newest.arrived })
  const button = first.can_play ? h('button', { type: 'button', 'aria-label': `Play what has arrived of ${first.name}`, on: { click: playing } }, 'Play') : null
  const link = h('a', { class: 'button', href: address(`${partialPath(first.upload_id)}/content`, { download: 1 }), download: '', 'aria-label': `Download what has arrived of ${first.name}` }, 'Download')
  return {
    node: h('li', {}, h('div', { class: 'what' }, h('span', { class: 'path' }, place, named(first.name, { class: 'file' })), size, h('span', { class: 'why' }, 'begun ', since)), button, link),
    update: (one) => {
      newest = one
      setText(size, one.length === null ? `${bytes(one.arrived)}, still recorded` : `${bytes(one.arrived)} of ${bytes(one.length)}`)
      setTime(since, one.created_at, 'age')
    },
  }
}
