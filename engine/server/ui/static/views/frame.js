// The header and the footer, which all views share.
import { el, update } from '../dom.js'
import { address, APIError } from '../api.js'
import { link } from '../router.js'
import { store } from '../store.js'
import { ago, clock } from '../time.js'
import { count } from '../words.js'

/** Returns the overall state in words, and its tone. */
export function headline(problems) {
  if (store.error instanceof APIError) return { text: 'The daemon refuses the request', tone: 'error' }
  if (store.error) return { text: 'The daemon does not answer', tone: 'error' }
  if (!store.status) return { text: 'Connecting', tone: 'muted' }
  const serious = problems.filter((problem) => problem.level !== 'notice')
  if (serious.length === 1) return { text: serious[0].title, tone: serious[0].level }
  if (serious.length > 1) return { text: `${count(serious.length, 'problem')}: ${serious[0].title}`, tone: serious[0].level }
  const { pipelines } = store.status
  if (pipelines.some((p) => p.in_sync === false)) return { text: 'A change is being applied', tone: 'notice' }
  return { text: pipelines.length > 1 ? `All ${pipelines.length} pipelines are in sync` : 'In sync', tone: 'ok' }
}

const connections = {
  connecting: ['muted', 'connecting'],
  live: ['ok', 'live'],
  lost: ['error', 'connection lost, trying again'],
}

export function drawHeader(route, pipeline, problems) {
  const name = pipeline?.name ?? ''
  const { text, tone } = headline(problems)
  const [connectionTone, connection] = connections[store.connection]
  const entry = (title, view, rest) =>
    el('a', { href: name ? link(name, rest) : '#/', 'aria-current': route.view === view ? 'page' : false }, title)
  update(
    document.getElementById('header'),
    el(
      'div',
      { class: 'bar' },
      el('a', { class: 'product', href: '#/' }, 'haproxy-api'),
      el(
        'nav',
        { 'aria-label': 'Views' },
        entry('Overview', 'overview', ''),
        entry('Services', 'services', 'services'),
        entry('Instances', 'instances', 'instances'),
        entry('Changes', 'changes', 'changes'),
      ),
      picker(route, name),
      el('span', { class: `connection state ${connectionTone}`, role: 'status' }, connection),
    ),
    el(
      'div',
      { class: `headline ${tone}` },
      el('h1', { class: `state ${tone}` }, text),
      problems.length > 0 && route.view !== 'overview' && el('a', { href: link(name) }, 'What to do'),
      facts(),
    ),
    store.error &&
      store.status &&
      el(
        'p',
        { class: 'failure strip' },
        `The status cannot be fetched: ${store.error.message}. What follows is the state of `,
        clock(store.fetched),
        '.',
      ),
  )
}

/** Returns the choice of the pipeline, if there are several. */
function picker(route, name) {
  const pipelines = store.status?.pipelines ?? []
  if (pipelines.length < 2) return null
  const rest = { services: 'services', instances: 'instances', changes: 'changes', change: 'changes' }[route.view] ?? ''
  return el(
    'label',
    { class: 'picker' },
    el('span', {}, 'Pipeline '),
    el(
      'select',
      {
        onchange: (event) => {
          location.hash = link(event.target.value, rest)
        },
      },
      pipelines.map((p) => el('option', { value: p.name, selected: p.name === name }, p.name)),
    ),
  )
}

function facts() {
  if (!store.status) return store.error && el('p', { class: 'muted' }, store.error.message)
  const sums = {}
  for (const source of store.status.sources) {
    for (const [status, n] of Object.entries(source.instances ?? {})) sums[status] = (sums[status] ?? 0) + n
  }
  const others = ['unhealthy', 'draining', 'unknown'].filter((status) => sums[status])
  return el(
    'p',
    { class: 'muted' },
    [
      `${count(sums.alive ?? 0, 'live instance')}`,
      ...others.map((status) => `${sums[status].toLocaleString('en')} ${status}`),
    ].join(', '),
  )
}

export function drawFooter() {
  const { status } = store
  update(
    document.getElementById('footer'),
    el('span', {}, `haproxy-api ${status?.version ?? ''}`),
    status && el('span', {}, 'running for ', ago(status.started, { bare: true })),
    status?.config?.file && el('span', {}, `configuration ${status.config.file}`),
    el('a', { href: address('api/v1/openapi.json') }, 'API'),
    el('a', { href: address('metrics') }, 'Metrics'),
  )
}
