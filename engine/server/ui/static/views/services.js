// The services of a pipeline, each with the numbers of its instances.
import { el, update } from '../dom.js'
import { getJSON, pipelinePath } from '../api.js'
import { link } from '../router.js'
import { draw } from '../store.js'
import { count, statuses } from '../words.js'
import { VirtualRows } from '../virtualrows.js'
import { search } from './search.js'

const refreshInterval = 10000 // milliseconds
const burstPause = 1000 // between two requests that events cause

const columns = Object.keys(statuses)

const queryOf = (route) => ({ q: route.query.get('q') ?? '' })

export function services(route, pipeline) {
  let query = queryOf(route)
  let list = null // the answer
  let error = ''
  const load = async () => {
    const asked = query
    try {
      const answer = await getJSON(
        pipelinePath(pipeline, `/instances?${new URLSearchParams({ ...query, summary: true, limit: 0 })}`),
      )
      if (asked !== query) return
      list = answer
      error = ''
    } catch (err) {
      error = err.message
    }
    draw()
  }
  let waiting
  const loadSoon = () => {
    waiting ??= setTimeout(() => {
      waiting = undefined
      load()
    }, burstPause)
  }
  const rows = new VirtualRows((service, index) => row(service, index, pipeline))
  const timer = setInterval(() => {
    if (!document.hidden) load()
  }, refreshInterval)
  const bar = search(pipeline, 'services')
  load()
  return {
    routed: (next) => {
      query = queryOf(next)
      load()
    },
    changed: (name) => {
      if (name === pipeline) loadSoon()
    },
    reset: load,
    close: () => {
      clearInterval(timer)
      clearTimeout(waiting)
      rows.close()
    },
    draw(main) {
      const all = list?.summary ?? []
      update(
        main,
        el(
          'div',
          { class: 'title', key: 'title' },
          el('h2', {}, 'Services'),
          el(
            'p',
            { class: 'muted', role: 'status' },
            list ? `${count(list.services, 'service')}, ${count(list.matched, 'instance')}` : 'Loading',
          ),
        ),
        bar(query),
        error && el('p', { class: 'failure', key: 'error' }, error),
        list && !all.length && el('p', { class: 'empty', key: 'empty' }, list.total ? 'No service matches.' : 'No service.'),
        el(
          'table',
          { class: 'long services', key: 'table', 'aria-rowcount': list ? all.length + 1 : -1, hidden: list && !all.length },
          el('caption', { class: 'hidden' }, 'Services'),
          el(
            'thead',
            {},
            el(
              'tr',
              { 'aria-rowindex': 1 },
              el('th', { scope: 'col', class: 'service' }, 'Service'),
              el('th', { scope: 'col', class: 'state-of' }, 'State'),
              columns.map((status) => el('th', { scope: 'col', class: `n ${status}` }, status)),
            ),
          ),
          el('tbody', { opaque: true }),
        ),
      )
      rows.draw(main.querySelector('tbody'), all.length, (index) => all[index])
    },
  }
}

function row({ service, counts }, index, pipeline) {
  const [tone, state] = stateOf(counts)
  return el(
    'tr',
    { 'aria-rowindex': index + 2 },
    el('td', { class: 'service', title: service }, el('a', { href: link(pipeline, 'instances', { service }) }, service)),
    el('td', { class: 'state-of' }, el('span', { class: `state ${tone}` }, state)),
    columns.map((status) =>
      el(
        'td',
        { class: `n ${status}` },
        counts[status]
          ? el('a', { href: link(pipeline, 'instances', { service, status }) }, counts[status].toLocaleString('en'))
          : el('span', { class: 'muted' }, '0'),
      ),
    ),
  )
}

/** Returns the tone and the word for the state of a service. Instances that are gone or drain are no problem. */
function stateOf(counts) {
  if (!counts.alive) return ['error', 'down']
  return counts.unhealthy || counts.unknown || counts.quarantined || counts.excluded ? ['warning', 'degraded'] : ['ok', 'up']
}
