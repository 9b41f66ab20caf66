// What the page knows of the daemon. Views read it; they are drawn again after each change.
import { getJSON, pipelinePath } from './api.js'
import { openEvents } from './events.js'

// In milliseconds:
const pollInterval = 5000 // between two requests while no events arrive
const hiddenPollInterval = 30000 // the same while the page is hidden
const hiddenStream = 30000 // how long the stream of events stays open after the page was hidden
const burstPause = 300 // between two requests that events cause

export const store = {
  /** The answer of /api/v1/status; null until it arrives. */
  status: null,
  /** When it arrived, as a text. */
  fetched: '',
  /** Why it could not be fetched the last time; null if it could. */
  error: null,
  /** connecting, live or lost */
  connection: 'connecting',
  /** Points of the charts, by pipeline. */
  series: new Map(),
}

const listeners = { drawn: () => {}, change: () => {}, reset: () => {} }

/** Returns the status of a pipeline, of the first one for "", or undefined. */
export function pipelineOf(name) {
  return name ? store.status?.pipelines.find((p) => p.name === name) : store.status?.pipelines[0]
}

/** Returns the source of a pipeline, or undefined. */
export const sourceOf = (pipeline) => store.status?.sources.find((s) => s.name === pipeline.source)

let drawing = false

/** Has the views drawn before the browser paints next. A hidden page is drawn for its title. */
export function draw() {
  if (drawing) return
  drawing = true
  const later = document.hidden ? setTimeout : requestAnimationFrame
  later(() => {
    drawing = false
    listeners.drawn()
  })
}

let fetching = false
let wanted = false

/** Fetches the status, at once or after the request that is under way. */
export async function fetchStatus() {
  wanted = true
  if (fetching) return
  fetching = true
  while (wanted) {
    wanted = false
    try {
      store.status = await getJSON('api/v1/status')
      store.fetched = new Date().toISOString()
      store.error = null
    } catch (err) {
      store.error = err
    }
    draw()
    await new Promise((resolve) => setTimeout(resolve, burstPause))
  }
  fetching = false
}

/** Fetches the points of a pipeline's charts. */
export async function fetchSeries(name) {
  try {
    store.series.set(name, await getJSON(pipelinePath(name, '/series')))
    draw()
  } catch {
    // The charts keep their points. They are fetched again soon.
  }
}

/**
 * Starts fetching.
 * @param {Object} on
 * @param {() => void} on.drawn draws the views
 * @param {(pipeline: string, change: Object) => void} on.change a change was added or updated
 * @param {() => void} on.reset everything has to be fetched again
 */
export function startStore(on) {
  Object.assign(listeners, on)
  const stream = openEvents({
    connection: (state) => {
      store.connection = state
      draw()
    },
    change: ({ pipeline, change }) => {
      listeners.change(pipeline, change)
      fetchStatus()
    },
    status: () => fetchStatus(),
    reset: () => {
      fetchStatus()
      listeners.reset()
    },
  })
  fetchStatus()
  setInterval(() => {
    if (store.connection !== 'live' && !document.hidden) fetchStatus()
  }, pollInterval)
  setInterval(() => {
    if (store.connection !== 'live' && document.hidden) fetchStatus()
  }, hiddenPollInterval)
  // Browsers open only six connections to one host, and each stream is one of them.
  let closing
  document.addEventListener('visibilitychange', () => {
    clearTimeout(closing)
    if (document.hidden) closing = setTimeout(stream.close, hiddenStream)
    else {
      stream.open()
      fetchStatus() // the machine may have slept
      listeners.reset()
    }
  })
}
