// Words for what the API reports as identifiers.

// The same words as in the commands.
const triggers = {
  push: 'push',
  watch: 'watch of the source',
  resync: 'resync of the source',
  source: 'snapshot of the source',
  release: 'held snapshot released',
  template: 'template saved',
  configuration: 'configuration reloaded',
  request: 'apply requested',
  start: 'start of haproxy-api',
  sink_restart: 'restart of the plugin of the sink',
  lost: 'the sink lost the applied document',
  watched_files: 'watched files changed',
  reread: 'SIGHUP, to read files again',
  retry: 'retry',
  sink: 'reported by the sink',
}

/** Returns what triggered a change, such as "push from 10.0.0.7". */
export function triggerWords({ kind, detail }) {
  const word = triggers[kind] ?? kind
  if (!detail) return word
  return kind === 'push' || kind === 'request' ? `${word} from ${detail}` : `${word}: ${detail}`
}

const events = {
  crashed: 'crashed',
  restarted: 'restarted',
  reloaded: 'reloaded',
  foreign_reload: 'reloaded by another program',
  load_failed: 'load failed',
  drift_repaired: 'drift repaired',
  reverted: 'reverted',
  other: 'event',
}

const outcomes = { not_loaded: 'not loaded' }

/** Returns the outcome of a change in words. */
export const outcomeWords = ({ outcome }) => outcomes[outcome] ?? outcome

/** Returns the one or two words for what a change was, and their tone: ok, notice, warning, error or muted. */
export function changeWords(change) {
  switch (change.outcome) {
    case 'applied':
      return { word: change.action || 'applied', tone: change.action === 'runtime' ? 'ok' : 'notice' }
    case 'event': {
      const failed = change.event === 'crashed' || change.event === 'load_failed'
      return { word: events[change.event] ?? change.event ?? 'event', tone: failed ? 'error' : 'warning' }
    }
    case 'deferred':
      return { word: 'deferred', tone: 'notice' }
    case 'superseded':
      return { word: 'superseded', tone: 'muted' }
    default:
      return { word: outcomeWords(change), tone: 'error' }
  }
}

/** Returns "1 instance" or "2 instances". */
export const count = (n, noun) => `${n.toLocaleString('en')} ${noun}${n === 1 ? '' : 's'}`

/** The statuses of instances, and their tones. */
export const statuses = {
  alive: 'ok',
  unhealthy: 'error',
  draining: 'notice',
  unknown: 'warning',
  tombstone: 'muted',
  quarantined: 'warning',
  excluded: 'warning',
}
