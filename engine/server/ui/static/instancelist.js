// The instances of a pipeline that match a search, fetched page by page as they are needed.
import { getJSON, pipelinePath } from './api.js'
import { draw } from './store.js'

const pageSize = 200
const maxPages = 20 // that are kept

export class InstanceList {
  #pages = new Map() // by number, in the order of their use
  #fetching = new Set()
  #age = 0 // answers to older searches are ignored

  /** query has q, status and service. */
  constructor(pipeline, query) {
    Object.assign(this, { pipeline, query, matched: null, total: 0, services: 0, counts: {}, error: '' })
  }

  /** Returns the instance at an index, or undefined while it is fetched. After an error, refresh fetches it. */
  at(index) {
    const number = Math.floor(index / pageSize)
    const page = this.#pages.get(number)
    if (!page) {
      if (!this.error) this.#fetch(number)
      return undefined
    }
    return page[index % pageSize]
  }

  /** Changes the search. What is shown stays until the answer arrives. */
  async search(query) {
    this.query = query
    this.#age++
    this.#fetching.clear()
    await this.#fetch(0, true)
  }

  /** Fetches the pages again that contain these indexes. */
  async refresh(from, to) {
    const wanted = new Set()
    for (let index = from; index <= to; index += pageSize) wanted.add(Math.floor(index / pageSize))
    wanted.add(Math.floor(to / pageSize))
    for (const number of this.#pages.keys()) if (!wanted.has(number)) this.#pages.delete(number)
    await Promise.all([...wanted].map((number) => this.#fetch(number)))
  }

  async #fetch(number, replace = false) {
    if (this.#fetching.has(number)) return
    this.#fetching.add(number)
    const age = this.#age
    const set = Object.entries(this.query).filter(([, value]) => value)
    const query = new URLSearchParams([...set, ['offset', number * pageSize], ['limit', pageSize]])
    try {
      const answer = await getJSON(pipelinePath(this.pipeline, `/instances?${query}`))
      if (age !== this.#age) return
      if (replace) this.#pages.clear()
      this.#pages.set(number, answer.instances)
      if (this.#pages.size > maxPages) this.#pages.delete(this.#pages.keys().next().value)
      Object.assign(this, {
        matched: answer.matched,
        total: answer.total,
        services: answer.services,
        counts: answer.counts ?? {},
        error: '',
        serversError: answer.servers_error,
      })
    } catch (err) {
      if (age !== this.#age) return
      this.error = err.message
    } finally {
      if (age === this.#age) this.#fetching.delete(number)
    }
    draw()
  }
}
