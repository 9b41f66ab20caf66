// The newest changes of a pipeline that pass a filter.
import { getJSON, pipelinePath } from './api.js'
import { draw } from './store.js'

const failures = ['rejected', 'not_loaded', 'failed', 'lost']

/** The filters, by what the address of the page calls them. */
export const filters = {
  '': { title: 'All', query: {}, has: () => true },
  reload: { title: 'Reload', query: { action: 'reload' }, has: (c) => c.action === 'reload' },
  restart: { title: 'Restart', query: { action: 'restart' }, has: (c) => c.action === 'restart' },
  runtime: { title: 'Runtime', query: { action: 'runtime' }, has: (c) => c.action === 'runtime' },
  written: { title: 'Written', query: { action: 'written' }, has: (c) => c.action === 'written' },
  events: { title: 'Events', query: { outcome: 'event' }, has: (c) => c.outcome === 'event' },
  failures: { title: 'Failures', query: { outcome: failures.join(',') }, has: (c) => failures.includes(c.outcome) },
}

/** A list that is fetched page by page, newest first, and kept up to date by events. */
export class ChangeList {
  #late = [] // changes that events brought during a request, whose answer may lack them

  constructor(pipeline, filter, limit) {
    Object.assign(this, {
      pipeline,
      filter: filters[filter] ? filter : '',
      limit,
      items: null,
      kept: limit,
      next: 0,
      error: '',
      busy: false,
    })
  }

  /** Fetches the newest ones. */
  async load() {
    this.#late = []
    const page = await this.#fetch(0)
    if (!page) return
    this.items = page.changes
    this.next = page.next ?? 0
    for (const change of this.#late) this.put(change)
  }

  /** Fetches older ones. */
  async more() {
    if (this.busy) return
    const page = await this.#fetch(this.next)
    if (!page) return
    const known = new Set(this.items.map((c) => c.generation))
    this.items = [...this.items, ...page.changes.filter((c) => !known.has(c.generation))]
    this.kept = Math.max(this.kept, this.items.length)
    this.next = page.next ?? 0
  }

  async #fetch(before) {
    this.busy = true
    const query = new URLSearchParams({ limit: this.limit, ...filters[this.filter].query, ...(before && { before }) })
    try {
      const page = await getJSON(pipelinePath(this.pipeline, `/generations?${query}`))
      this.error = ''
      return page
    } catch (err) {
      this.error = err.message
      return null
    } finally {
      this.busy = false
      draw()
    }
  }

  /** Adds or replaces a change that an event brought. The list does not grow by that beyond what was fetched. */
  put(change) {
    if (this.busy) this.#late.push(change)
    if (!this.items) return
    const items = this.items.filter((c) => c.generation !== change.generation)
    if (filters[this.filter].has(change)) items.push(change)
    this.items = items.sort((a, b) => b.generation - a.generation)
    if (items.length > this.kept) {
      items.length = this.kept
      this.next = items.at(-1).generation
    }
    draw()
  }
}
