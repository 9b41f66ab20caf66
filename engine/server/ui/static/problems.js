// What is wrong and what to do about it: the reasons that the daemon gives, and what it reports beside them.
import { count } from './words.js'

/**
 * @typedef {Object} Problem
 * @property {string} key
 * @property {"error"|"warning"|"notice"} level
 * @property {string} title
 * @property {string} pipeline whose history tells more; "" for none
 * @property {string[]} lines what exactly is wrong; more has further ones, dropped is the number of those that are not known
 * @property {string} detail a sentence, followed by lines of a file
 * @property {string} since when it began, and until when it ends by itself
 * @property {string} advice what to do
 * @property {string} action release or apply, if that helps
 */

const shown = 5 // lines of a list

const levels = { unhealthy: 'error', degraded: 'warning' }

/** What the page adds to a reason, by its kind. A function of the pipeline returns it. */
const kinds = {
  sink: (p) => ({ title: `Sink ${p.sink} reports a problem`, action: 'apply' }),
  restarting: (p) => ({
    title: p.facts?.haproxy_up === '0' ? 'HAProxy is not running' : 'HAProxy ended several times',
    action: 'apply',
  }),
  not_applied: () => ({
    title: 'Configuration not applied',
    action: 'apply',
  }),
  watched_files: () => ({ title: 'Watched files not loaded' }),
  template: (p) => ({
    title: `Template refused${position(p.template_error_at)}`,
    detail: p.template_error_detail || p.template_error,
  }),
  nothing_applied: () => ({ title: 'Nothing applied yet' }),
  source: (p) => ({ title: `Source ${p.source} reports a problem` }),
  stale: (p) => ({ title: `No snapshot of source ${p.source} yet`, since: p.stale_since }),
  held: (p) => ({
    title: 'Snapshot held',
    since: p.held?.since,
    until: p.held?.until,
    action: 'release',
  }),
  excluded: (p) => ({
    title: `${count(p.excluded?.length ?? 0, 'exclusion')}`,
    ...list(p.excluded),
    action: 'apply',
  }),
  quarantined: (p) => ({
    title: `${count(p.quarantined_count ?? 0, 'instance')} quarantined`,
    ...list(p.quarantined, p.quarantined_count),
  }),
  state_store: () => ({ title: 'State not saved' }),
  configuration: (_, config) => ({ title: 'Configuration file refused', detail: config.error_detail || config.error }),
}

/** Returns the problems of a status, the worst first. */
export function problemsOf(status) {
  const found = grouped(status.reasons, null, status.config)
  const several = status.pipelines.length > 1
  for (const p of status.pipelines) {
    const own = [...grouped(p.reasons, p, status.config), dropped(p), nondeterministic(p), waiting(p)]
    for (const one of own.filter(Boolean)) {
      found.push({
        ...one,
        key: `${one.key} ${p.name}`,
        pipeline: p.name,
        title: several ? `${p.name}: ${one.title}` : one.title,
      })
    }
  }
  const order = ['error', 'warning', 'notice']
  return found.sort((a, b) => order.indexOf(a.level) - order.indexOf(b.level))
}

/** Returns one problem for the reasons of each kind. Its key stays the same while their messages change. */
function grouped(reasons, pipeline, config) {
  const groups = new Map()
  for (const reason of reasons ?? []) groups.set(reason.kind, [...(groups.get(reason.kind) ?? []), reason])
  return [...groups.values()].map((group) => problem(group, pipeline, config))
}

function problem(reasons, pipeline, config) {
  const [{ kind, state }] = reasons
  const added = kinds[kind]?.(pipeline, config) ?? { title: 'Problem' }
  const lines = added.detail ? [] : reasons.map(({ message }) => message)
  const advice = [...new Set(reasons.map(({ action }) => action))].join(' ')
  return { key: kind, level: levels[state] ?? 'warning', lines, advice, ...added }
}

/** Returns where a mistake in a template is, for a title. */
function position(at) {
  if (!at?.file) return ''
  return `: ${at.file.split('/').pop()}${at.line ? `, line ${at.line}` : ''}`
}

function dropped(p) {
  return (
    p.dropped_values?.length > 0 && {
      key: 'dropped',
      level: 'notice',
      title: `${count(p.dropped_values_count ?? p.dropped_values.length, 'value')} dropped`,
      ...list(p.dropped_values, p.dropped_values_count),
      advice: 'The instances are served without these values. Correct them in the registry.',
    }
  )
}

function nondeterministic(p) {
  return (
    p.nondeterministic?.length > 0 && {
      key: 'nondeterministic',
      level: 'notice',
      title: 'The template renders the same state differently each time',
      lines: p.nondeterministic,
      advice: 'Such lines cause reloads without a reason. Change the template.',
    }
  )
}

function waiting(p) {
  return (
    p.waiting && {
      key: 'waiting',
      level: 'notice',
      title: 'Change deferred',
      lines: [p.waiting.reason],
      until: p.waiting.until,
      advice: '',
    }
  )
}

/** Returns the first lines of a list of exclusions or quarantined instances, and the rest to unfold. */
function list(all = [], total = all.length) {
  const lines = all.map((one) => [one.service, one.hostname || one.instance].filter(Boolean).join(' on ') + `: ${one.reason}`)
  return { lines: lines.slice(0, shown), more: lines.slice(shown), dropped: total - all.length }
}
