/** What the codes of the agent and the server mean, and what a person does about them. */

export const PRESENCE = {
  online: 'online',
  late: 'late',
  offline: 'offline',
  never: 'uploads only',
}

export const PRESENCE_MEANS = {
  online: 'It reports in time.',
  late: 'It has not reported by when it said it would. It may be out of reach, or off.',
  offline: 'It is switched off, or out of reach. It goes on by itself once it is back.',
  never: 'It uploads, and reports nothing: an older agent, another client, or [reports] enabled = false.',
}

const STATES = {
  starting: 'starting',
  idle: 'idle',
  uploading: 'uploading',
  paused: 'paused',
  waiting_network: 'waiting for the network',
  waiting_window: 'waiting for its window',
  blocked: 'blocked',
  error: 'error',
  stopping: 'stopping',
  stopped: 'stopped',
}

const REASONS = {
  queued: 'queued',
  still_recording: 'still being recorded',
  link: 'no way to the server',
  metered: 'held back by a rule of its link',
  schedule: 'waits for its time of day',
  bandwidth: 'its bytes for now are used up',
  paused: 'paused',
  hold: 'held: the robot is busy',
  power: 'waits for power',
  plan: 'its data plan is used up',
  backoff: 'waits before the next try',
  clock: 'nobody has set the clock',
  auth: 'the server refuses its token',
  quota: 'its quota is full',
  server_busy: 'the server is busy',
  server_full: 'the server is full',
  verifying: 'the server verifies',
  source_missing: 'its folder is missing',
  disk: 'its disk is full',
  permission: 'may not be read',
  source_io: 'its card gives errors',
  source_silent: 'its folder does not answer',
  card_absent: 'its card is absent',
  on_demand: 'sent when fetched',
}

/** [what it means, what to do] */
const PROBLEMS = {
  server_unreachable: ['The server does not answer it, or something on the way does.', 'Look at its network, [server] url and proxy; "edge-agent check" says more.'],
  auth_failed: ['The server refuses its token or certificate.', 'Give it a new one: "ingest-server token add DEVICE".'],
  quota: ['Its unfinished uploads fill its quota.', 'It goes on when one of them is done; or raise [limits] quota.'],
  checksum: ['What arrived is not what was sent; nothing is deleted on it.', 'Look at its log; bad memory or a bad card does this.'],
  source_missing: ['The watched folder is not there.', 'Put the card in, or mend [watch] folder.'],
  card_absent: ['Nothing is mounted where its card belongs.', 'Put the card in, or mount it.'],
  permission: ['The agent may not read some recordings.', 'Mend group and umask of the recorder.'],
  source_io: ['The card gives errors where a recording is read.', 'Act now: copy what can be read, and replace the card.'],
  source_silent: ['A watched folder does not answer: the server behind it is gone.', 'Look at that server and at the mount; it goes on by itself.'],
  left_out: ['Files in the folder are not sent: no pattern fits.', 'Add them to [watch] patterns, or to ignore.'],
  hold_stale: ['What holds it may have been left behind by a crash or a reboot.', 'If the robot is not busy: "edge-agent release", or remove the hold file.'],
  deadline_late: ['Recordings miss their deadline at the rate of now.', 'They are sent first. A faster link would help.'],
  plan_low: ['Its data plan is used to a large part, or used up.', 'The notes of its state say how much, and when the plan begins anew.'],
  rule_unknown: ['What a rule asks for cannot be found out. It uploads all the same.', 'The notes of its state name the rule and the reason.'],
  direct_unreachable: ['It cannot send to the bucket itself. It uploads through the server.', 'The notes of its state name the reason: a name, a firewall, a certificate.'],
  watch_limit: ['The kernel watches no more folders; new recordings are found later.', 'Raise fs.inotify.max_user_watches.'],
  disk_low: ['Its media disk is nearly full.', 'Let it delete what is verified ([retention]), or make room.'],
  delete_failed: ['A verified recording cannot be deleted.', 'Give the agent write access to the folder.'],
  state_full: ['The disk of its state_dir is full.', 'Make room on that disk.'],
  store: ['Its state_dir cannot be written.', 'See whether that disk is full or read-only.'],
  config: ['The last reload was refused; the old configuration is in force.', 'Its log names the key.'],
  clock_unsynced: ['Nobody has set its clock. It uploads all the same.', 'Set up an NTP client.'],
  insecure_transport: ['It sends over plain http.', 'Use https in [server] url.'],
  mqtt_unreachable: ['The broker does not answer. Uploads go on.', 'Look at [mqtt] url and the broker.'],
  mqtt_auth: ['The broker refuses its login. Uploads go on.', 'Mend [mqtt] username and password_file.'],
  mqtt_acl: ['The broker\'s rules refuse its messages. Uploads go on.', 'Mend the access rules of the broker.'],
  mqtt_refused: ['The broker refuses an event.', 'Raise max_packet_size of the broker.'],
  people_told: ['People were told of it, and it still holds.', 'Its page says what, whom, and whether it has come to them.'],
  duplicate_id: ['Another agent has the same device_id.', 'Give each device its own id: a copied card has two.'],
}

const WORKERS = {
  watcher_failed: 'finds',
  sender_failed: 'sends',
  janitor_failed: 'deletes',
  reporter_failed: 'tells the broker',
  commands_failed: 'goes on with commands',
  enrolment_failed: 'enrols',
  server_reports_failed: 'tells this server of it',
}

const FAILURES = {
  'source-missing': 'It was deleted or moved before it was sent. Put it back, and it is taken up again.',
  'source-unreadable': 'The agent cannot read it. Mend its access, then retry.',
  checksum: 'Three repairs have not helped. Check the card and memory of the device, then retry.',
  'too-large': 'It is larger than the server takes. Raise [limits] max_length, then retry.',
  'invalid-name': 'The server takes no such name. Rename it on the device.',
  'upload-refused': 'The check of the server refuses it. Ask who runs that check; then retry.',
  cancelled: 'An operator cancelled it. Retry sends it after all.',
  'receipt-void': 'The server holds it no more, and the device still does. Retry sends it again.',
}

const EVENTS = {
  'file.discovered': 'A recording is finished',
  'file.started': 'Its upload begins',
  'file.completed': 'Verified by the server',
  'file.failed': 'It failed',
  'file.overwritten': 'Overwritten by the recorder before it was sent',
  'file.changed_during_upload': 'It was written to again, and is sent again',
  'file.deleted_locally': 'The device let it go after the receipt',
  'group.completed': 'All files of a group are there',
  'checksum.failed': 'The digests differ',
  'disk.low': 'The media disk is short of space',
  'disk.ok': 'The media disk has space again',
  'auth.failed': 'The server refuses the token',
  'auth.ok': 'The server takes the token again',
  'config.applied': 'A new configuration is in force',
  'config.rejected': 'A new configuration was refused',
  'agent.started': 'The agent started',
  'agent.stopped': 'The agent stopped',
  'agent.state_lost': 'The agent lost its memory of uploads',
  'spool.dropped': 'Events were dropped: the outbox was full',
  'agent.checked': 'Somebody ran "edge-agent check"',
}

const COMMANDS = {
  pause: 'Pause',
  resume: 'Resume',
  set_bandwidth: 'Limit',
  retry: 'Retry',
  retry_failed: 'Retry all that failed',
  rescan: 'Rescan',
  upload_now: 'Upload now',
  fetch: 'Fetch',
  set_priority: 'Priority',
  report: 'Report now',
  rotate_token: 'Next token',
  cancel: 'Cancel',
  upload_log: 'Upload its log',
  reload: 'Reload its configuration',
}

const SAID_BY = { auth: 'auth_failed', link: 'server_unreachable', backoff: 'server_unreachable', disk: 'store', clock: 'clock_unsynced' }

/** Return whether the reason why a device waits says already what the problem does. */
export const isSaidBy = (reason, code) => Boolean(reason) && (SAID_BY[reason] ?? reason) === code

const readable = (code) => String(code ?? '').replaceAll('_', ' ').replaceAll('-', ' ')
const of = (table, code) => (Object.hasOwn(table, code ?? '') ? table[code] : readable(code))

export const stateWord = (state) => (state ? of(STATES, state) : 'not known')
export const reasonWord = (reason) => of(REASONS, reason)
export const eventWord = (type) => of(EVENTS, String(type ?? '').replace(/^(edgeup|ingest)\./, ''))
export const commandWord = (command) => of(COMMANDS, command)
export const failureAdvice = (code) =>
  Object.hasOwn(FAILURES, code ?? '') ? FAILURES[code] : 'Retry it; if it fails again, the log of the device says more.'

/** Return {word, means, todo} of a problem's code. */
export function problem(code) {
  if (Object.hasOwn(PROBLEMS, code)) {
    const [means, todo] = PROBLEMS[code]
    return { word: readable(code), means, todo }
  }
  if (Object.hasOwn(WORKERS, code)) {
    return {
      word: readable(code),
      means: `What ${WORKERS[code]} fails at each try.`,
      todo: 'Keep the log of the agent and report it; restart the agent.',
    }
  }
  return { word: readable(code), means: 'This page does not know it.', todo: 'See docs/mqtt.md of its version.' }
}

/** Where a command is: {word, tone, isOver}. What nobody has answered yet is waiting. */
export function commandStanding(command) {
  switch (command.status) {
    case 'done':
      return { word: 'done', tone: 'good', isOver: true }
    case 'duplicate':
      // Of an older agent: its code alone says what the command had come to.
      return command.code === 'ok' ? { word: 'done', tone: 'good', isOver: true } : { word: 'failed', tone: 'bad', isOver: true }
    case 'accepted':
      return { word: 'under way', tone: 'busy', isOver: false }
    case 'rejected':
      return { word: 'refused', tone: 'bad', isOver: true }
    case 'failed':
      return { word: 'failed', tone: 'bad', isOver: true }
    case 'expired':
      return { word: 'expired', tone: 'warn', isOver: true }
    case 'sent':
      return { word: 'told, no answer yet', tone: 'busy', isOver: false }
    default:
      return { word: 'waiting', tone: 'busy', isOver: false }
  }
}
