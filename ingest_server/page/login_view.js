/** Sign-in: a user and a password, once; the browser then has a session that no script can read. */

import { session, signIn } from './api.js'
import { h, setText } from './dom.js'
import { capital, duration } from './text.js'

export default class LoginView {
  constructor({ done }) {
    this.done = done
    this.user = h('input', { id: 'user', name: 'username', autocomplete: 'username', autocapitalize: 'none', spellcheck: 'false', required: true, maxlength: '64' })
    this.password = h('input', { id: 'password', name: 'password', type: 'password', autocomplete: 'current-password', required: true, maxlength: '1024' })
    this.button = h('button', { type: 'submit', class: 'strong' }, 'Sign in')
    this.said = h('p', { class: 'said bad', role: 'alert' })
    const form = h('form', { class: 'card login', on: { submit: (event) => this.submit(event) } },
      h('h1', {}, 'Sign in'),
      h('label', { for: 'user' }, 'User'), this.user,
      h('label', { for: 'password' }, 'Password'), this.password,
      this.said, this.button,
      h('details', { open: session.has_users === false }, h('summary', {}, 'No user yet, or the password is lost?'),
        h('p', {}, 'On the server, which asks for the password:'), h('pre', { tabindex: '0' },
          'ingest-server user add NAME' + (session.has_users === false ? '' : '\ningest-server user password NAME'))))
    this.node = h('div', { class: 'middle' }, form)
    if (session.mode !== 'none') queueMicrotask(done)
    else queueMicrotask(() => this.user.focus())
  }

  async submit(event) {
    event.preventDefault()
    if (this.button.disabled) return
    this.button.disabled = true
    setText(this.said, '')
    try {
      await signIn(this.user.value, this.password.value)
      this.done()
    } catch (error) {
      const wait = error.retryAfterS ? ` Try again in ${duration(error.retryAfterS)}.` : ''
      setText(this.said, `${capital(error.message)}${wait}`)
      this.password.select()
    } finally {
      this.button.disabled = false
    }
  }
}
