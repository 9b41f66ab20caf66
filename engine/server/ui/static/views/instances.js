// The instances of a pipeline, and what its program says of them.
import { el, update } from '../dom.js'
import { InstanceList } from '../instancelist.js'
import { link } from '../router.js'
import { ago, duration } from '../time.js'
import { count, statuses } from '../words.js'
import { VirtualRows } from '../virtualrows.js'
import { showInstance } from './instance.js'
import { search } from './search.js'

const refreshInterval = 5000 // milliseconds

const columns = ['Service', 'Host', 'Instance', 'Address', 'Status', 'Since', 'HAProxy', 'Check', 'Sessions', 'Queue', 'Weight']

const queryOf = (route) => Object.fromEntries(['q', 'status', 'service'].map((key) => [key, route.query.get(key) ?? '']))

export function instances(route, pipeline) {
  let query = queryOf(route)
  const list = new InstanceList(pipeline, query)
  const rows = new VirtualRows((instance, index) =>
    row(instance, index, (service) => link(pipeline, 'instances', { ...query, service })),
  )
  const refresh = () => list.refresh(...rows.range)
  const timer = setInterval(() => {
    if (!document.hidden) refresh()
  }, refreshInterval)
  const bar = search(pipeline, 'instances')
  list.search(query)
  return {
    routed: (next) => {
      query = queryOf(next)
      rows.invalidate() // their links have the query
      list.search(query)
    },
    changed: (name) => {
      if (name === pipeline) refresh()
    },
    reset: refresh,
    close: () => {
      clearInterval(timer)
      rows.close()
    },
    draw(main) {
      update(
        main,
        el(
          'div',
          { class: 'title', key: 'title' },
          el('h2', {}, 'Instances'),
          el('p', { class: 'muted', role: 'status' }, matches(list)),
        ),
        bar(query, list.counts),
        list.error && el('p', { class: 'failure', key: 'error' }, list.error),
        list.serversError && el('p', { class: 'muted', key: 'servers' }, `HAProxy's answers are missing: ${list.serversError}`),
        list.matched === 0 && el('p', { class: 'empty', key: 'empty' }, list.total ? 'No instance matches.' : 'No instance.'),
        el(
          'table',
          { class: 'long instances', key: 'table', 'aria-rowcount': (list.matched ?? -2) + 1, hidden: list.matched === 0 },
          el('caption', { class: 'hidden' }, 'Instances'),
          el(
            'thead',
            {},
            el(
              'tr',
              { 'aria-rowindex': 1 },
              columns.map((title) => el('th', { scope: 'col', class: title.toLowerCase() }, title)),
            ),
          ),
          el('tbody', { opaque: true }),
        ),
      )
      rows.draw(main.querySelector('tbody'), list.matched ?? 0, (index) => list.at(index))
    },
  }
}

function matches({ matched, total, services }) {
  if (matched === null) return 'Loading'
  const of = matched === total ? '' : ` of ${total.toLocaleString('en')}`
  return `${matched.toLocaleString('en')}${of} ${total === 1 ? 'instance' : 'instances'} in ${count(services, 'service')}`
}

function row(instance, index, serviceLink) {
  const properties = { 'aria-rowindex': index + 2 }
  if (!instance)
    return el(
      'tr',
      { ...properties, class: 'loading' },
      columns.map((title) => el('td', { class: title.toLowerCase() })),
    )
  const status = instance.status.toLowerCase()
  const problem = instance.excluded ? 'excluded' : instance.quarantined ? 'quarantined' : ''
  const cell = (name, ...content) =>
    el('td', { class: name, title: content.every((c) => typeof c === 'string') && content.join('') }, content)
  const details = (text) => el('button', { type: 'button', class: 'plain', onclick: () => showInstance(instance) }, text)
  return el(
    'tr',
    properties,
    cell(
      'service',
      el('a', { href: serviceLink(instance.service), title: `Only instances of ${instance.service}` }, instance.service),
      el('span', { class: 'only-narrow' }, details(instance.hostname || instance.id)),
    ),
    cell('host', instance.hostname ?? ''),
    cell('instance', details(instance.id)),
    cell('address', (instance.addresses ?? []).join(', ')),
    cell('status', el('span', { class: `state ${statuses[problem || status] ?? 'muted'}` }, problem || status)),
    cell('since', ago(instance.since, { bare: true })),
    servers(instance.servers ?? [], cell),
  )
}

/** Returns the cells for what the program says. An instance can have a server in each of several backends. */
function servers(all, cell) {
  if (!all.length)
    return ['haproxy', 'check', 'sessions', 'queue', 'weight'].map((name) => cell(name, name === 'haproxy' ? '–' : ''))
  const worst = all.find((s) => serverTone(s) === 'error') ?? all.find((s) => serverTone(s) === 'notice') ?? all[0]
  const sum = (name) => String(all.reduce((n, s) => n + (s[name] ?? 0), 0))
  return [
    el(
      'td',
      { class: 'haproxy', title: all.map(serverWords).join('\n') },
      el('span', { class: `state ${serverTone(worst)}` }, worst.status.toLowerCase()),
      all.length > 1 && el('span', { class: 'muted' }, ` ×${all.length}`),
    ),
    cell('check', worst.check ?? ''),
    cell('sessions', sum('sessions')),
    cell('queue', sum('queue')),
    cell('weight', String(worst.weight ?? '')),
  ]
}

/** Returns the tone of a status in HAProxy's words. A server without a check is used, and HAProxy does not know its state. */
function serverTone({ status }) {
  if (status.startsWith('UP')) return 'ok'
  if (status.startsWith('DOWN')) return 'error'
  return status === 'no check' ? 'muted' : 'notice'
}

const serverWords = (s) => `${s.backend}/${s.name}: ${s.status} for ${duration(s.in_status_seconds ?? 0)}`
