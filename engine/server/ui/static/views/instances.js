// The services and instances of a pipeline, and what its program says of them. Only the rows on the screen are in the document.
import { become, el, update } from '../dom.js'
import { InstanceList } from '../instancelist.js'
import { link, replaceRoute } from '../router.js'
import { draw } from '../store.js'
import { ago, duration } from '../time.js'
import { count, statuses } from '../words.js'
import { showInstance } from './instance.js'

const typingPause = 150 // milliseconds
const refreshInterval = 5000
const overscan = 8 // rows above and below the screen

const columns = ['Service', 'Host', 'Instance', 'Address', 'Status', 'Since', 'HAProxy', 'Check', 'Sessions', 'Queue', 'Weight']

const queryOf = (route) => Object.fromEntries(['q', 'status', 'service'].map((key) => [key, route.query.get(key) ?? '']))

export function instances(route, pipeline) {
  let query = queryOf(route)
  const list = new InstanceList(pipeline, query)
  let range = [0, 0]
  const drawn = new Map() // rows by index, each with the instance that it shows
  let typing
  list.search(query)
  const set = (change) => replaceRoute(link(pipeline, 'instances', { ...query, ...change }))
  const refresh = () => list.refresh(...range)
  const timer = setInterval(() => { if (!document.hidden) refresh() }, refreshInterval)
  addEventListener('scroll', draw, { passive: true })
  addEventListener('resize', draw)
  return {
    routed: (next) => {
      query = queryOf(next)
      for (const row of drawn.values()) row.instance = null // the links have the query
      list.search(query)
    },
    changed: (name) => { if (name === pipeline) refresh() },
    reset: refresh,
    close: () => {
      clearInterval(timer)
      removeEventListener('scroll', draw)
      removeEventListener('resize', draw)
    },
    draw(main) {
      range = visible(main.querySelector('tbody'), list.matched ?? 0)
      update(main,
        el('div', { class: 'title', key: 'title' }, el('h2', {}, 'Instances'),
          el('p', { class: 'muted', role: 'status' }, matches(list))),
        el('form', { class: 'search', role: 'search', key: 'search', onsubmit: (event) => event.preventDefault() },
          el('label', {}, el('span', {}, 'Search '), el('input', {
            type: 'search', value: query.q, placeholder: 'service, host, instance, address', autocomplete: 'off', spellcheck: 'false',
            oninput: (event) => {
              const q = event.target.value
              clearTimeout(typing)
              typing = setTimeout(() => set({ q }), typingPause)
            },
          })),
          el('label', {}, el('span', {}, 'Status '), el('select', { onchange: (event) => set({ status: event.target.value }) },
            ['', ...Object.keys(statuses)].map((status) =>
              el('option', { value: status, selected: status === query.status }, statusOption(status, list.counts))))),
          query.service && el('button', { type: 'button', onclick: () => set({ service: '' }) }, `Only ${query.service} ×`)),
        list.error && el('p', { class: 'failure', key: 'error' }, list.error),
        list.serversError && el('p', { class: 'muted', key: 'servers' }, `HAProxy's answers are missing: ${list.serversError}`),
        list.matched === 0 && el('p', { class: 'empty', key: 'empty' }, list.total ? 'No instance matches.' : 'No instance.'),
        el('table', { class: 'instances', key: 'table', 'aria-rowcount': (list.matched ?? -2) + 1, hidden: list.matched === 0 },
          el('caption', { class: 'hidden' }, 'Instances'),
          el('thead', {}, el('tr', { 'aria-rowindex': 1 },
            columns.map((title) => el('th', { scope: 'col', class: title.toLowerCase() }, title)))),
          el('tbody', { opaque: true })))
      const body = main.querySelector('tbody')
      update(body, rows(list, range, drawn, (service) => link(pipeline, 'instances', { ...query, service })))
      size(body, range, list.matched ?? 0)
    },
  }
}

function matches({ matched, total, services }) {
  if (matched === null) return 'Loading'
  const of = matched === total ? '' : ` of ${total.toLocaleString('en')}`
  return `${matched.toLocaleString('en')}${of} ${total === 1 ? 'instance' : 'instances'} in ${count(services, 'service')}`
}

const statusOption = (status, counts) => !status ? 'any' : `${status} (${(counts[status] ?? 0).toLocaleString('en')})`

/** Returns the height of a row, which the style sheet sets. */
const rowHeight = () => parseFloat(getComputedStyle(document.documentElement).getPropertyValue('--row'))

/** Returns the first and the last index of the rows to show. */
function visible(body, matched) {
  const height = rowHeight()
  const above = body ? -body.getBoundingClientRect().top : 0
  const last = Math.max(0, matched - 1)
  const first = Math.floor(above / height) - overscan
  const end = Math.ceil((above + innerHeight) / height) + overscan
  return [Math.min(Math.max(0, first), last), Math.min(Math.max(0, end), last)]
}

/** Gives the rows above and below those in the document their height. */
function size(body, [from, to], matched) {
  const height = rowHeight()
  const [above, below] = body.querySelectorAll('tr.rest')
  if (!above) return
  above.style.height = `${from * height}px`
  below.style.height = `${Math.max(0, matched - 1 - to) * height}px`
}

function rows(list, [from, to], drawn, serviceLink) {
  if (!list.matched) return []
  const shown = [el('tr', { class: 'rest', key: 'above', 'aria-hidden': 'true' })]
  for (const index of drawn.keys()) if (index < from || index > to) drawn.delete(index)
  for (let index = from; index <= to; index++) {
    const instance = list.at(index)
    const old = drawn.get(index)
    if (!old) drawn.set(index, { instance, node: row(instance, index, serviceLink) })
    else if (old.instance !== instance) {
      old.instance = instance
      become(old.node, row(instance, index, serviceLink))
    }
    shown.push(drawn.get(index).node)
  }
  return [...shown, el('tr', { class: 'rest', key: 'below', 'aria-hidden': 'true' })]
}

function row(instance, index, serviceLink) {
  const properties = { key: index, 'aria-rowindex': index + 2 }
  if (!instance) return el('tr', { ...properties, class: 'loading' }, columns.map((title) => el('td', { class: title.toLowerCase() })))
  const status = instance.status.toLowerCase()
  const problem = instance.excluded ? 'excluded' : instance.quarantined ? 'quarantined' : ''
  const cell = (name, ...content) => el('td', { class: name, title: content.every((c) => typeof c === 'string') && content.join('') },
    content)
  const details = (text) =>
    el('button', { type: 'button', class: 'plain', onclick: () => showInstance(instance) }, text)
  return el('tr', properties,
    cell('service', el('a', { href: serviceLink(instance.service), title: `Only instances of ${instance.service}` }, instance.service),
      el('span', { class: 'only-narrow' }, details(instance.hostname || instance.id))),
    cell('host', instance.hostname ?? ''),
    cell('instance', details(instance.id)),
    cell('address', (instance.addresses ?? [instance.address]).filter(Boolean).join(', ')),
    cell('status', el('span', { class: `state ${statuses[problem || status] ?? 'muted'}` }, problem || status)),
    cell('since', ago(instance.since, { bare: true })),
    servers(instance.servers ?? [], cell))
}

/** Returns the cells for what the program says. An instance can have a server in each of several backends. */
function servers(all, cell) {
  if (!all.length) return ['haproxy', 'check', 'sessions', 'queue', 'weight'].map((name) => cell(name, name === 'haproxy' ? '–' : ''))
  const worst = all.find((s) => serverTone(s) === 'error') ?? all.find((s) => serverTone(s) === 'notice') ?? all[0]
  const sum = (name) => String(all.reduce((n, s) => n + (s[name] ?? 0), 0))
  return [
    el('td', { class: 'haproxy', title: all.map(serverWords).join('\n') },
      el('span', { class: `state ${serverTone(worst)}` }, worst.status.toLowerCase()),
      all.length > 1 && el('span', { class: 'muted' }, ` ×${all.length}`)),
    cell('check', worst.check ?? ''), cell('sessions', sum('sessions')), cell('queue', sum('queue')), cell('weight', String(worst.weight ?? '')),
  ]
}

/** Returns the tone of a status in HAProxy's words. A server without a check is used, and HAProxy does not know its state. */
function serverTone({ status }) {
  if (status.startsWith('UP')) return 'ok'
  if (status.startsWith('DOWN')) return 'error'
  return status === 'no check' ? 'muted' : 'notice'
}

const serverWords = (s) => `${s.backend}/${s.name}: ${s.status} for ${duration(s.in_status_seconds ?? 0)}`
