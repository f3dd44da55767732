/** What waits on a device and why, and what has failed and what to do about it. */

import { Children, attribute, h, named, setText } from './dom.js'
import { bytes, count, counted } from './text.js'
import { failureAdvice, reasonWord, stateWord } from './words.js'

export class DeviceFiles {
  constructor(commands) {
    this.pending = new FileList('Pending', commands, 'upload_now', 'Upload now')
    this.failed = new FileList('Failed', commands, 'retry', 'Retry')
    this.all = commands.button('Retry all', 'retry_failed', () => ({}))
    this.failed.head.append(this.all)
    this.metered = h('input', { type: 'checkbox', id: 'metered-now' })
    this.pending.node.append(h('label', { class: 'check', for: 'metered-now' }, this.metered, ' “Upload now” also over a metered link, which may cost money'))
    this.pending.argumentsOf = (file) => ({ file_id: file.file_id, metered: this.metered.checked })
  }

  show({ row, files, can }) {
    const pending = files?.pending ?? []
    const failed = files?.failed ?? []
    this.pending.show(pending, row.pending_files, row.presence === 'never')
    this.failed.show(failed, row.failed, row.presence === 'never')
    this.failed.node.hidden = !failed.length && !row.failed
    this.metered.parentNode.hidden = !pending.length || !can?.includes('upload_now')
    this.all.hidden = !failed.length
  }
}

class FileList {
  constructor(title, commands, command, word) {
    this.title = h('h2', {}, title)
    this.name = title
    this.commands = commands
    this.command = command
    this.word = word
    this.argumentsOf = (file) => ({ file_id: file.file_id })
    this.list = h('ul', { class: 'files' })
    this.none = h('p', { class: 'none' })
    this.more = h('p', { class: 'more' })
    this.items = new Children(this.list, (file) => file.file_id, (file) => this.item(file))
    this.head = h('div', { class: 'head' }, this.title)
    this.node = h('section', { class: 'card', 'aria-label': title }, this.head, this.none, this.list, this.more)
  }

  show(files, all, isSilent) {
    setText(this.title, all ? `${this.name} (${count(all)})` : this.name)
    this.none.hidden = files.length > 0
    setText(this.none, isSilent ? 'It does not say.' : all ? `${counted(all, 'recording')}; it has not told which yet.` : 'Nothing.')
    this.items.show(files)
    const left = (all ?? 0) - files.length
    this.more.hidden = left <= 0 || !files.length
    setText(this.more, `and ${count(left)} more`)
  }

  item(file) {
    const why = h('span', { class: 'why' })
    const todo = h('span', { class: 'todo' })
    const size = h('span', { class: 'size' })
    const bar = h('progress', { max: '1000', 'aria-label': `Acknowledged of ${file.name}` })
    let newest = file
    const button = this.commands.button(this.word, this.command, () => this.argumentsOf(newest), file.name)
    const place = file.folder && file.folder !== '.' ? h('span', { class: 'folder' }, named(file.folder), '/') : null
    const node = h('li', {}, h('div', { class: 'what' }, h('span', { class: 'path' }, place, named(file.name, { class: 'file' })), size, why, todo, bar), button)
    return {
      node,
      update: (one) => {
        newest = one
        const part = one.acknowledged > 0 && one.acknowledged < one.length
        setText(size, part ? `${bytes(one.acknowledged)} of ${bytes(one.length)}` : bytes(one.length))
        bar.hidden = !part
        if (part) bar.value = (1000 * one.acknowledged) / one.length
        setText(why, reasonSentence(one))
        const isFailed = this.command === 'retry'
        attribute(node, 'data-tone', isFailed ? 'bad' : null)
        setText(todo, isFailed ? failureAdvice(one.problem) : '')
      },
    }
  }
}

function reasonSentence(file) {
  return file.detail || (file.reason ? reasonWord(file.reason) : file.problem ? reasonWord(file.problem) : stateWord(file.state))
}
