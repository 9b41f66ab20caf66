// What is wrong, and what to do about it, derived from the daemon's status.
import { count } from './words.js'

/**
 * @typedef {Object} Problem
 * @property {string} key
 * @property {"error"|"warning"|"notice"} level
 * @property {string} title
 * @property {string} pipeline whose history tells more; "" for none
 * @property {string[]} lines what exactly is wrong
 * @property {string} detail several lines of text, such as those of a template
 * @property {string} until when it ends by itself
 * @property {string} advice what to do
 * @property {string} action release or apply, if that helps
 */

const shown = 5 // lines of a list

/** Returns the problems of a status, the worst first. */
export function problemsOf(status) {
  const several = status.pipelines.length > 1
  const found = [...configuration(status.config), ...status.sources.flatMap(source)]
  for (const p of status.pipelines) {
    const of = (title) => several ? `${p.name}: ${title}` : title
    found.push(...[sink(p), template(p), held(p), excluded(p), quarantined(p), dropped(p), nondeterministic(p), waiting(p)]
      .filter(Boolean)
      .map((problem) => ({ ...problem, key: `${problem.key} ${p.name}`, pipeline: p.name, title: of(problem.title) })))
  }
  const order = ['error', 'warning', 'notice']
  return found.sort((a, b) => order.indexOf(a.level) - order.indexOf(b.level))
}

function configuration(config) {
  if (!config?.error) return []
  return [{
    key: 'configuration', level: 'error', title: 'Configuration file refused', lines: [config.file].filter(Boolean),
    detail: config.error_detail || config.error,
    advice: 'The previous configuration stays in use. Correct the file and save it; haproxy-api reads it again by itself.',
  }]
}

function source(s) {
  const found = []
  if (s.up === false || s.problems?.length) {
    found.push({
      key: `source ${s.name}`, level: s.up === false ? 'error' : 'warning',
      title: s.up === false ? `Source ${s.name} is away` : `Source ${s.name} reports a problem`, lines: s.problems ?? [],
      advice: 'HAProxy keeps the last state. haproxy-api tries again by itself: check whether the registry runs and can be reached.',
    })
  }
  if (s.stale_since) {
    found.push({
      key: `stale ${s.name}`, level: 'warning', title: `Source ${s.name} has sent nothing since the daemon started`,
      lines: ['The state of the daemon\'s previous run is in use.'], since: s.stale_since,
      advice: 'Check whether the registry runs and sends to this daemon.',
    })
  }
  return found
}

function sink(p) {
  const down = p.facts?.haproxy_up === '0'
  if (!p.problems?.length && !down) return null
  const advice = down
    ? 'haproxy-api starts HAProxy again by itself. The changes below say why it ended.'
    : 'The previous configuration stays in use where it can. haproxy-api tries again by itself, or now if you request it.'
  return {
    key: 'sink', level: 'error', title: down ? 'HAProxy is not running' : `Sink ${p.sink ?? ''} reports a problem`,
    lines: p.problems ?? [], advice, action: 'apply',
  }
}

function template(p) {
  return p.template_error && {
    key: 'template', level: 'error', title: 'Template refused',
    detail: p.template_error_detail || p.template_error,
    advice: 'The previous template stays in use. Correct the file and save it; it is tried again at once.',
  }
}

function held(p) {
  return p.held && {
    key: 'held', level: 'warning', title: 'Snapshot held', lines: [p.held.reason], since: p.held.since, until: p.held.until,
    advice: 'HAProxy keeps the previous instances. Release the snapshot if the instances are really gone.', action: 'release',
  }
}

function excluded(p) {
  return p.excluded?.length > 0 && {
    key: 'excluded', level: 'warning', title: `${count(p.excluded.length, 'exclusion')}: HAProxy rejects the lines`,
    ...list(p.excluded, p.excluded.length),
    advice: 'All others are served. Correct the service or the template; what is accepted again comes back by itself.',
  }
}

function quarantined(p) {
  return p.quarantined?.length > 0 && {
    key: 'quarantined', level: 'warning', title: `${count(p.quarantined_count ?? p.quarantined.length, 'instance')} quarantined`,
    ...list(p.quarantined, p.quarantined_count),
    advice: 'Templates do not see them, because a value could break out of its line. Correct the value in the registry.',
  }
}

function dropped(p) {
  return p.dropped_values?.length > 0 && {
    key: 'dropped', level: 'notice', title: `${count(p.dropped_values_count ?? p.dropped_values.length, 'value')} dropped`,
    ...list(p.dropped_values, p.dropped_values_count),
    advice: 'The instances are served without these values. Correct them in the registry.',
  }
}

function nondeterministic(p) {
  return p.nondeterministic?.length > 0 && {
    key: 'nondeterministic', level: 'notice', title: 'The template renders the same state differently each time',
    lines: p.nondeterministic, advice: 'Such lines cause reloads without a reason. Change the template.',
  }
}

function waiting(p) {
  return p.waiting && {
    key: 'waiting', level: 'notice', title: 'Change deferred', lines: [p.waiting.reason], until: p.waiting.until, advice: '',
  }
}

/** Returns the first lines of a list of exclusions or quarantined instances, and the rest to unfold. */
function list(all, total) {
  const lines = all.map((one) => [one.service, one.hostname || one.instance].filter(Boolean).join(' on ') + `: ${one.reason}`)
  const dropped = (total ?? all.length) - all.length
  return { lines: lines.slice(0, shown), more: lines.slice(shown), dropped }
}
