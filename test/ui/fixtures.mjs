// Answers of the API for situations that take long to bring about with a real daemon. Their shapes are those of engine/server.
import { readFileSync } from 'node:fs'

const all = JSON.parse(readFileSync(new URL('reasons.json', import.meta.url), 'utf8'))
const templatePath = '/etc/haproxy-api/haproxy.tmpl'

const minute = 60_000
const before = (milliseconds) => new Date(Date.now() - milliseconds).toISOString()

const statuses = ['alive', 'alive', 'alive', 'alive', 'alive', 'alive', 'alive', 'draining', 'unhealthy', 'alive']

const small = ['api', 'orders', 'web']

/** Returns n instances of services with about forty instances each. */
export function instances(n) {
  return Array.from({ length: n }, (_, i) => {
    const service = n < 50 ? small[i % small.length] : `service-${String(Math.floor(i / 40)).padStart(3, '0')}`
    const status = n < 50 ? 'alive' : statuses[i % statuses.length]
    const address = `10.${(i >> 16) & 255}.${(i >> 8) & 255}.${i & 255}:${31000 + (i % 900)}`
    return {
      service,
      id: `${service}-${((i * 2654435761) % 2 ** 32).toString(16).padStart(8, '0')}`,
      hostname: `node-${i % 120}`,
      addresses: [address],
      status,
      since: before(((i % 300) + 1) * minute),
      servers:
        status === 'unhealthy'
          ? []
          : [
              {
                backend: `${service}-8080`,
                name: `node-${i % 120}-${31000 + (i % 900)}`,
                status: status === 'draining' ? 'DRAIN' : 'UP',
                in_status_seconds: (i % 300) * 60 + 60,
                check: 'L7OK',
                weight: 1,
                sessions: (i * 7) % 13,
                queue: 0,
              },
            ],
    }
  })
}

function series(live) {
  const points = Array.from({ length: 360 }, (_, i) => {
    const changes = i % 11 === 3 ? 1 + (i % 3) : 0
    return {
      time: before((359 - i) * minute),
      changes,
      reloads: i % 97 === 14 ? 1 : 0,
      instances: live - (i < 200 ? 4 : 0) - (i % 50 < 3 ? 1 : 0),
      convergence_max: changes ? 0.012 + ((i * 37) % 23) / 1000 + (i % 97 === 14 ? 0.19 : 0) : 0,
      convergence_sum: changes ? 0.02 : 0,
    }
  })
  return { interval_seconds: 60, points }
}

const steps = [
  { name: 'wait', start: 0, seconds: 0.0004 },
  { name: 'render', start: 0.0004, seconds: 0.0031 },
  { name: 'plan', start: 0.0036, seconds: 0.0004 },
  { name: 'check', start: 0.004, seconds: 0.042 },
  { name: 'write', start: 0.046, seconds: 0.006 },
  { name: 'reload', start: 0.053, seconds: 0.137 },
  { name: 'verify', start: 0.19, seconds: 0.002 },
]

function change(generation, age, properties) {
  return {
    generation,
    document: generation,
    digest: 'f2ca1bb6c7e907d06dafe4687e579fce',
    trigger: { kind: 'push', detail: '10.20.0.4' },
    outcome: 'applied',
    action: 'runtime',
    reason: 'backend web-8080: server node-4-31180 added',
    received: before(age),
    updated: before(age - 14),
    attempts: 1,
    seconds: 0.014,
    lines_added: 1,
    lines_removed: 0,
    instances: ['web: +node-4 10.0.0.4:31180'],
    commands: [
      { sent: 'add server web-8080/node-4-31180 10.0.0.4:31180 weight 1 check id 5', answer: 'New server registered.' },
      { sent: 'set server web-8080/node-4-31180 state ready' },
    ],
    steps: [...steps.slice(0, 3), { name: 'runtime', start: 0.004, seconds: 0.0011 }],
    ...properties,
  }
}

export const diffText = `--- generation 40
+++ generation 41
@@ -12,8 +12,10 @@
 frontend web-8080-in
     bind 0.0.0.0:8080
-    timeout client 30s
+    timeout client 45s
     default_backend web-8080
 
 backend web-8080
-    server node-2-31000 10.0.0.2:31000 check weight 1
+    server node-2-31000 10.0.0.2:31000 check weight 5
     server node-3-31000 10.0.0.3:31000 check weight 1
+    server node-4-31180 10.0.0.4:31180 check weight 1
+    server node-5-31180 10.0.0.5:31180 check weight 1
`

function changes() {
  return [
    change(47, 9_000),
    change(46, 4 * minute, {
      instances: ['api: node-2 unhealthy', 'web: node-7 draining'],
      reason: 'backend api-8080: server node-2-31007 removed; backend web-8080: server node-7-31000 removed',
      commands: [],
      lines_added: 0,
      lines_removed: 2,
    }),
    change(45, 22 * minute, {
      action: '',
      outcome: 'event',
      event: 'drift_repaired',
      trigger: { kind: 'sink' },
      instances: [],
      document: 41,
      seconds: 0,
      reason: 'another program had changed servers, and they were set back: in web-8080',
      commands: [{ sent: 'set server web-8080/node-2-31000 weight 1' }],
    }),
    change(44, 51 * minute, { instances: ['orders: -node-9'], reason: 'backend orders-8080: server node-9-31002 removed' }),
    change(43, 75 * minute, {
      outcome: 'superseded',
      action: '',
      reason: '',
      error: 'reload deferred by reload_interval: the last one was less than 5s ago (backend web-8080: server node-5-31000 added)',
      instances: ['web: node-5 alive'],
    }),
    change(42, 76 * minute, {
      outcome: 'rejected',
      action: '',
      reason: '',
      trigger: { kind: 'template', detail: templatePath },
      instances: [],
      error:
        "HAProxy rejects the configuration: [/etc/haproxy/haproxy.cfg:31] unknown keyword 'blance' in 'backend' section; " +
        "did you mean 'balance' maybe ?",
      steps: steps.slice(0, 4),
    }),
    change(41, 80 * minute, {
      action: 'reload',
      reason: 'frontend web-8080-in: timeout client 30s changed to timeout client 45s (and 3 more)',
      trigger: { kind: 'template', detail: templatePath },
      instances: [],
      seconds: 0.192,
      lines_added: 4,
      lines_removed: 2,
      commands: [],
      steps,
      details: ['[NOTICE] (4711) : New worker (4802) forked', '[NOTICE] (4711) : Loading success.'],
    }),
    change(40, 160 * minute, { instances: ['api: +node-3 10.0.0.3:31007', 'web: +node-3 10.0.0.3:31000'],
      reason: 'backend api-8080: server node-3-31007 added; backend web-8080: server node-3-31000 added',
    }),
    change(39, 300 * minute, {
      action: 'restart',
      reason: 'HAProxy was not running',
      trigger: { kind: 'start' },
      instances: ['api: +node-2 10.0.0.2:31007, +node-5 10.0.0.5:31007', 'orders: +node-9 10.0.0.9:31002', 'web: +node-2 10.0.0.2:31000'],
      seconds: 0.412,
      steps,
    }),
  ]
}

/** Returns a daemon where all is well: its answers by path. */
export function calm({ n = 12, list = instances(n) } = {}) {
  const history = changes()
  const tally = (status) => list.filter((one) => one.status === status).length
  const pipeline = {
    name: 'haproxy',
    state: 'healthy',
    reasons: [],
    source: 'sidecar',
    source_type: 'sidecar-push',
    sink: 'haproxy',
    sink_type: 'haproxy',
    generation: 47,
    in_sync: true,
    templates: [templatePath],
    since: before(9_000),
    problems: [],
    facts: { haproxy_up: '1', haproxy_restarts: '0', version: '2.6.12' },
    last_change: history[0],
    last_reload: history[6],
  }
  return {
    status: {
      state: 'healthy',
      reasons: [],
      version: '1.2.0',
      started: before(301 * minute),
      uptime_seconds: 301 * 60,
      config: { file: '/etc/haproxy-api.toml', loaded: before(301 * minute) },
      sources: [
        {
          name: 'sidecar',
          type: 'sidecar-push',
          up: true,
          problems: [],
          last_snapshot: before(9_000),
          last_cause: 'push',
          last_sender: '10.20.0.4',
          services: new Set(list.map((one) => one.service)).size,
          instances: {
            alive: tally('alive'),
            unhealthy: tally('unhealthy'),
            draining: tally('draining'),
            tombstone: 0,
            unknown: 0,
          },
          quarantined_count: 0,
        },
      ],
      pipelines: [pipeline],
    },
    changes: history,
    diff: diffText,
    list,
    series: series(tally('alive')),
  }
}

/** Returns a daemon that has just started and got nothing yet. */
export function empty() {
  const answers = calm({ list: [] })
  const [pipeline] = answers.status.pipelines
  Object.assign(answers, { changes: [], series: { interval_seconds: 60, points: [] } })
  Object.assign(pipeline, {
    generation: 0,
    in_sync: false,
    state: 'unhealthy',
    reasons: reasons('first'),
    problems: reasons('first').map(({ message }) => message),
    facts: { haproxy_up: '0' },
    since: undefined,
    last_change: undefined,
    last_reload: undefined,
  })
  Object.assign(answers.status.sources[0], { last_snapshot: undefined, last_cause: '', last_sender: '' })
  answers.status.started = before(3000)
  return answers
}

const day = '2026-01-02T03:04:05Z' // the only time in reasons.json

/** Returns the reasons that the daemon gives, which a test of engine/server wrote, with another time. */
function reasons(name, time = day) {
  return JSON.parse(JSON.stringify(all[name]).replaceAll(day, time.replace(/\.\d+/, '')))
}

/** Returns a daemon where everything is wrong at once, in two pipelines. */
export function trouble() {
  const answers = calm()
  const { status } = answers
  const until = before(-22_000)
  const own = reasons('haproxy', until)
  const [template, held, excluded] = own.map(({ message }) => message)
  Object.assign(status.pipelines[0], {
    state: 'unhealthy',
    in_sync: false,
    reasons: own,
    template_error: template,
    template_error_at: { file: templatePath, line: 31, column: 14 },
    template_error_detail:
      `${templatePath}:31:14: function "getPort" not defined\n   31 |   {{ range getPort $name }}\n` +
      '      |            ^\n      = did you mean "getPorts"?',
    held: { reason: held.replace('the newest snapshot is held: ', ''), since: before(8000), until },
    excluded: [
      { service: 'orders', instance: 'orders-1', hostname: 'node-9', reason: excluded.replace(/^.* is excluded: /, '') },
    ],
    quarantined: [{ service: 'web', instance: 'web-7', hostname: 'node-7', reason: 'Image contains a line break' }],
    quarantined_count: 14,
    waiting: {
      reason: 'reload deferred by reload_interval: the last one was less than 5s ago (frontend web-8080-in: maxconn 100 added)',
      until: before(-3000),
    },
  })
  const [refused] = reasons('daemon')
  status.reasons = [refused]
  Object.assign(status.config, { error: refused.message, error_detail: refused.message })
  status.state = 'unhealthy'
  const since = before(100 * minute)
  const others = reasons('batch', since)
  status.sources.push({
    name: 'batch',
    type: 'file',
    up: false,
    problems: others.filter(({ kind }) => kind === 'source').map(({ message }) => message),
    facts: {},
    services: 0,
    instances: {},
    last_snapshot: since,
    last_cause: 'watch',
    stale_since: since,
  })
  status.pipelines.push({
    ...calm().status.pipelines[0],
    name: 'batch',
    source: 'batch',
    source_type: 'file',
    sink: 'batch',
    state: 'unhealthy',
    problems: ['HAProxy is not running'],
    reasons: others,
    facts: { haproxy_up: '0', haproxy_restarts: '3' },
    stale_since: since,
  })
  return answers
}

/** Returns a daemon with only one of the problems, by its kind. */
export function problem(kind) {
  const answers = calm()
  const { status } = trouble()
  const [pipeline] = status.pipelines
  const fields = { template: ['template_error', 'template_error_at', 'template_error_detail'], held: ['held'] }[kind]
  const reasons = pipeline.reasons.filter((one) => one.kind === kind)
  Object.assign(answers.status.pipelines[0], {
    state: reasons[0].state,
    reasons,
    ...Object.fromEntries(fields.map((name) => [name, pipeline[name]])),
  })
  return answers
}

export const markup = '<img src=x onerror="document.title=\'broken in\'">'

/** The fields whose values are identifiers and numbers of the daemon's own. */
const identifiers = new Set(['kind', 'state', 'status', 'outcome', 'action', 'event', 'haproxy_up', 'last_cause'])

/** Returns a daemon whose names and errors look like HTML. */
export function hostile() {
  const replace = (value, key) => {
    if (typeof value === 'string') return identifiers.has(key) || /^\d{4}-|^\d+$/.test(value) ? value : `${markup} ${value}`
    if (Array.isArray(value)) return value.map((inner) => replace(inner, key))
    if (!value || typeof value !== 'object') return value
    return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, replace(inner, name)]))
  }
  const { diff, ...answers } = trouble()
  return { ...replace(answers), diff: diff.replaceAll('server node', `server ${markup}`) }
}

/** Returns the answer for a path and a query below api/v1/, and undefined if there is none. */
export function answer(answers, path, query) {
  if (path === 'status') return answers.status
  const [, name, rest] = /^pipelines\/([^/]+)\/?(.*)$/.exec(path) ?? []
  if (!name) return undefined
  if (rest === 'series') return answers.series
  if (rest === 'instances') return page(answers.list, query)
  if (rest === 'generations') {
    const [actions, outcomes] = ['action', 'outcome'].map((key) => query.get(key)?.split(','))
    const matching = answers.changes.filter(
      (c) => (!actions || actions.includes(c.action)) && (!outcomes || outcomes.includes(c.outcome)),
    )
    return { changes: matching }
  }
  const [, generation, what] = /^generations\/(\d+)\/?(.*)$/.exec(rest) ?? []
  if (what === 'diff') return answers.diff
  return answers.changes.find((c) => c.generation === Number(generation))
}

function page(list, query) {
  const [q, status, service] = ['q', 'status', 'service'].map((key) => query.get(key) ?? '')
  const selected = list.filter(
    (one) =>
      (!service || one.service === service) &&
      (!q || [one.service, one.id, one.hostname, ...one.addresses].some((text) => text.includes(q))),
  )
  const matching = selected.filter((one) => !status || one.status === status)
  const offset = Number(query.get('offset') ?? 0)
  const names = [...new Set(matching.map((one) => one.service))]
  const tally = (rows) =>
    Object.fromEntries([...new Set(statuses)].map((key) => [key, rows.filter((one) => one.status === key).length]))
  return {
    ...(query.get('summary') && {
      summary: names.map((name) => ({ service: name, counts: tally(matching.filter((one) => one.service === name)) })),
    }),
    total: list.length,
    matched: matching.length,
    services: names.length,
    counts: tally(selected),
    instances: matching.slice(offset, offset + Number(query.get('limit') ?? 200)),
  }
}
