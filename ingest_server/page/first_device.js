/** What somebody sees who has no device yet: the three commands of the first one. */

import { copyButton, h } from './dom.js'

/** Return the address that a device would use, as far as the page can tell. */
const here = () => `${location.protocol}//${location.host}`

export function firstDevice() {
  const isLoopback = ['localhost', '127.0.0.1', '[::1]'].includes(location.hostname)
  return h(
    'section', { class: 'first' },
    h('h2', {}, 'No device has been here yet'),
    h('p', {}, 'Three commands bring the first one. This page shows it by itself as soon as it says something.'),
    h(
      'ol', { class: 'steps' },
      step('On this server: a claim token', 'It is good for one device and for an hour, and is the last line that is printed. The device makes a token of its own out of it.', 'ingest-server claim add --devices 1 --expires 1h'),
      step('On the device: put it there', 'Paste the claim token, then Enter and Ctrl-D. It is read from this file, and sent to this server alone.', 'install -D -m 600 /dev/stdin ~/edge-uploader/claim-token'),
      step('On the device: start the agent', 'With the folder in which the camera puts its recordings. It sends what is finished, and goes on after every cut.', agentCommand()),
    ),
    isLoopback && h('p', { class: 'hint' }, 'This server listens on this machine alone. For a device elsewhere set ', h('code', {}, '[server] listen'), ' and ', h('code', {}, '[tls]'), ' first, and use that address.'),
    location.protocol === 'https:' && h('p', { class: 'hint' }, 'If this server has a CA of its own, run ', h('code', {}, 'ingest-server setup'), ' here again instead: it prints the one line that a device needs.'),
    h('p', { class: 'hint' }, 'With systemd, for many devices from one image, or with a certificate: docs/install.md.'),
  )
}

function agentCommand() {
  return [
    'edge-agent run --device-id drone-01 --folder /media/camera',
    `--server-url ${here()} --state-dir ~/edge-uploader`,
    '--set server.claim_token_file="$HOME/edge-uploader/claim-token"',
    '--token-file ~/edge-uploader/token',
  ].join(' \\\n  ')
}

/** Return each word as one piece: in a narrow window a line ends between two of them, not after a hyphen. */
const words = (command) => command.split(/(\s+(?!\\))/).map((part) => (part.trim() ? h('span', {}, part) : part))

function step(title, meaning, command) {
  return h('li', {}, h('h3', {}, title), h('p', {}, meaning), h('div', { class: 'command' }, h('pre', { tabindex: '0', 'aria-label': title }, words(command)), copyButton(command, `Copy the command: ${title}`)))
}
