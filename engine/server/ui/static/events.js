// The stream of events of the daemon. The browser connects again by itself and says which event it received last; only if
// the daemon refused the connection, a new stream is opened here.
import { address } from './api.js'

const shortestPause = 1000
const longestPause = 15000

/**
 * Opens the stream and keeps it open. The functions open and close that it returns do nothing if it is open or closed already.
 * @param {Object} on
 * @param {(state: string) => void} on.connection connecting, live or lost
 * @param {(event: {pipeline: string, change: Object}) => void} on.change
 * @param {(event: {pipeline: string}) => void} on.status
 * @param {() => void} on.reset everything has to be fetched again
 */
export function openEvents(on) {
  let pause = shortestPause
  let source = null
  let retry
  const open = () => {
    if (source) return
    source = new EventSource(address('api/v1/events'))
    let fresh = true // a new stream tells nothing of what happened before
    source.onopen = () => {
      pause = shortestPause
      on.connection('live')
      if (fresh) on.reset()
      fresh = false
    }
    source.addEventListener('change', (event) => on.change(JSON.parse(event.data)))
    source.addEventListener('status', (event) => on.status(JSON.parse(event.data)))
    source.addEventListener('reset', () => on.reset())
    source.onerror = () => {
      on.connection('lost')
      if (source?.readyState !== EventSource.CLOSED) return
      source = null
      retry = setTimeout(open, pause)
      pause = Math.min(pause * 2, longestPause)
    }
  }
  const close = () => {
    clearTimeout(retry)
    source?.close()
    source = null
    on.connection('connecting')
  }
  open()
  return { open, close }
}
