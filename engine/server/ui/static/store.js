// What the page knows of the daemon. Views read it; they are drawn again after each change.
import { getJSON, pipelinePath } from './api.js'
import { openEvents } from './events.js'

/** How often everything is fetched again while no events arrive, in milliseconds. */
const pollInterval = 5000

export const store = {
  /** The answer of /api/v1/status; null until it arrives. */
  status: null,
  /** Why the last request failed; "" if it did not. */
  error: '',
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

/** Has the views drawn before the browser paints next. */
export function draw() {
  if (drawing) return
  drawing = true
  requestAnimationFrame(() => {
    drawing = false
    listeners.drawn()
  })
}

/**
 * Returns a function that runs job, never twice at a time. A call while it runs makes it run once more afterwards.
 * @param {() => Promise<void>} job
 */
export function oneAtATime(job) {
  let running = false
  let again = false
  return async () => {
    if (running) {
      again = true
      return
    }
    running = true
    do {
      again = false
      try {
        await job()
        store.error = ''
      } catch (err) {
        store.error = err.message
      }
      draw()
    } while (again)
    running = false
  }
}

/** Fetches the status. */
export const fetchStatus = oneAtATime(async () => {
  store.status = await getJSON('api/v1/status')
})

/** Fetches the points of a pipeline's charts. */
export async function fetchSeries(name) {
  try {
    store.series.set(name, await getJSON(pipelinePath(name, '/series')))
    draw()
  } catch (err) {
    store.error = err.message
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
  openEvents({
    connection: (state) => { store.connection = state; draw() },
    change: ({ pipeline, change }) => { listeners.change(pipeline, change); fetchStatus() },
    status: () => fetchStatus(),
    reset: () => { fetchStatus(); listeners.reset() },
  })
  fetchStatus()
  setInterval(() => { if (store.connection !== 'live' && !document.hidden) fetchStatus() }, pollInterval)
  document.addEventListener('visibilitychange', () => {
    if (document.hidden) return
    fetchStatus()
    listeners.reset()
  })
}
