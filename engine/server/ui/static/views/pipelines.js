// The pipelines, each as source → template → sink.
import { el } from '../dom.js'
import { link } from '../router.js'
import { sourceOf, store } from '../store.js'
import { ago } from '../time.js'
import { changeWords, count, statuses } from '../words.js'

export function pipelines(selected) {
  const all = store.status.pipelines
  return el(
    'section',
    { key: 'pipelines', 'aria-labelledby': 'pipelines-title' },
    el('h2', { id: 'pipelines-title' }, all.length > 1 ? 'Pipelines' : 'Pipeline'),
    all.map((p) => pipeline(p, all.length > 1 && p === selected)),
  )
}

function pipeline(p, selected) {
  const stages = [sourceStage(p), templateStage(p), sinkStage(p)]
  return el(
    'div',
    { class: `pipeline${selected ? ' selected' : ''}`, key: p.name },
    store.status.pipelines.length > 1 && el('h3', {}, el('a', { href: link(p.name), 'aria-current': selected }, p.name)),
    el('ol', { class: 'flow', 'aria-label': `From source to sink of ${p.name}` }, stages),
  )
}

function stage(kind, name, type, tone, state, facts) {
  return el(
    'li',
    { class: 'stage' },
    el(
      'div',
      { class: 'stage-name' },
      el('span', { class: 'kind' }, kind),
      el('strong', { title: name }, name),
      type && type !== name && el('span', { class: 'muted type' }, type),
    ),
    el('div', { class: `state ${tone}` }, state),
    el(
      'dl',
      {},
      facts.filter(Boolean).map(([term, ...description]) => [el('dt', {}, term), el('dd', {}, description)]),
    ),
  )
}

const causes = { push: 'last push', watch: 'last event', resync: 'last resync' }

function sourceStage(p) {
  const source = sourceOf(p)
  const [tone, state] = sourceState(p, source)
  return stage('Source', p.source, source?.type, tone, state, [
    [
      causes[source?.last_cause] ?? 'last snapshot',
      ago(source?.last_snapshot),
      source?.last_sender && ` from ${source.last_sender}`,
    ],
    source && ['instances', counts(p, source)],
    source && ['services', el('a', { href: link(p.name, 'services') }, (source.services ?? 0).toLocaleString('en'))],
  ])
}

function sourceState(p, source) {
  if (p.held) return ['warning', 'snapshot held']
  if (source?.up === false) return ['error', 'away']
  if (source?.stale_since) return ['warning', 'stale']
  if (source?.problems?.length) return ['warning', 'has a problem']
  return source?.last_snapshot ? ['ok', 'up'] : ['muted', 'no snapshot yet']
}

/** Returns the numbers of instances, each a link to these instances. */
function counts(p, source) {
  const links = Object.keys(statuses)
    .filter((status) => source.instances?.[status])
    .map((status) =>
      el('a', { href: link(p.name, 'instances', { status }) }, `${source.instances[status].toLocaleString('en')} ${status}`),
    )
  return links.length ? links.flatMap((one, i) => (i ? [', ', one] : [one])) : 'none'
}

function templateState(p) {
  if (!p.template_error) return ['ok', 'accepted']
  // A template that is not at fault, such as with a full disk, is tried again.
  return p.reasons?.some((reason) => reason.kind === 'template') ? ['error', 'refused'] : ['warning', 'not applied yet']
}

function templateStage(p) {
  const files = p.templates?.length ? p.templates : ['built-in template']
  const name = files[0].split('/').pop() || files[0]
  const notes = p.notes?.length
  const [tone, state] = templateState(p)
  return stage('Template', name, '', tone, state, [
    files[0] !== name && ['path', el('span', { title: files.join('\n') }, files[0])],
    files.length > 1 && ['files', String(files.length)],
    ['excluded', p.excluded?.length ? count(p.excluded.length, 'part') : 'none'],
    notes > 0 && ['notes', el('span', { title: p.notes.join('\n') }, `${p.notes[0]}${notes > 1 ? ` (+${notes - 1})` : ''}`)],
  ])
}

function sinkStage(p) {
  const [tone, state] = sinkState(p)
  return stage('Sink', p.sink ?? '', p.sink_type, tone, state, [
    p.since && [
      'in effect since',
      ago(p.since, { bare: true }),
      ' (',
      el('a', { href: link(p.name, `changes/${p.generation}`) }, `#${p.generation}`),
      ')',
    ],
    ['last change', change(p, p.last_change)],
    ['last reload', change(p, p.last_reload)],
    p.facts?.haproxy_restarts > 0 && ['restarts', p.facts.haproxy_restarts],
    p.facts?.old_workers_count > 0 && ['old workers', p.facts.old_workers_count],
  ])
}

function sinkState(p) {
  if (p.reasons?.some(({ kind }) => kind === 'nothing_applied')) return ['muted', 'nothing applied yet']
  if (p.facts?.haproxy_up === '0') return ['error', 'HAProxy is not running']
  if (p.problems?.length) return ['error', 'has a problem']
  if (p.waiting) return ['notice', 'change deferred']
  if (p.applying_since) return ['notice', 'applying']
  return p.in_sync === false ? ['notice', 'not in sync'] : ['ok', 'in sync']
}

function change(p, c) {
  if (!c) return 'none'
  return [ago(c.updated), ' (', el('a', { href: link(p.name, `changes/${c.generation}`) }, changeWords(c).word), ')']
}
