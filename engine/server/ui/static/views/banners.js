// The problems, each with what to do about it.
import { el } from '../dom.js'
import { pipelinePath, post } from '../api.js'
import { link } from '../router.js'
import { draw, fetchStatus } from '../store.js'
import { ago, until } from '../time.js'
import { count } from '../words.js'

const labels = { release: 'Release', apply: 'Apply now' }

/** The outcome of a request, by the key of the problem: {message, failed, busy}. */
const outcomes = new Map()

/** Requests an action for the pipeline of a problem, and shows the answer in its banner. */
async function request(problem) {
  const show = (outcome) => {
    outcomes.set(problem.key, outcome)
    draw()
  }
  show({ message: '', busy: true })
  try {
    const message = await post(pipelinePath(problem.pipeline, `/${problem.action}`))
    show({ message: message ?? '' })
  } catch (err) {
    show({ message: err.message, failed: true })
  }
  fetchStatus()
}

export function banners(problems) {
  const keys = new Set(problems.map((problem) => problem.key))
  for (const key of outcomes.keys()) if (!keys.has(key)) outcomes.delete(key)
  return (
    problems.length > 0 && el('section', { key: 'problems', class: 'banners', 'aria-label': 'Problems' }, problems.map(banner))
  )
}

function banner(problem) {
  const outcome = outcomes.get(problem.key)
  return el(
    'article',
    { class: `banner ${problem.level}`, key: problem.key },
    el('h2', { class: `state ${problem.level}` }, problem.title),
    el(
      'div',
      { class: 'what' },
      lines(problem),
      detail(problem.detail),
      el(
        'p',
        { class: 'advice' },
        problem.since && ['Since ', ago(problem.since, { bare: true }), '. '],
        problem.until && ['Ends by itself ', until(problem.until), '. '],
        problem.advice,
      ),
    ),
    problem.action &&
      el(
        'div',
        { class: 'buttons' },
        el(
          'button',
          { type: 'button', disabled: outcome?.busy ?? false, onclick: () => request(problem) },
          labels[problem.action],
        ),
        problem.action === 'apply' && el('a', { href: link(problem.pipeline, 'changes') }, 'Changes'),
        el('span', { role: 'status', class: outcome?.failed ? 'failure' : '' }, outcome?.message ?? ''),
      ),
  )
}

/** Returns a text whose first line is a sentence; the others, such as those of a template, keep their columns. */
function detail(text) {
  const [sentence, ...rest] = (text ?? '').split('\n')
  const block = rest.join('\n').replace(/^\n+|\n+$/g, '')
  return [
    sentence && el('p', {}, sentence),
    block && el('pre', { tabindex: '0', role: 'region', 'aria-label': 'Details' }, block),
  ]
}

function lines({ lines: first = [], more = [], dropped = 0 }) {
  const listOf = (all) =>
    el(
      'ul',
      {},
      all.map((line) => el('li', {}, line)),
    )
  if (first.length === 1 && !more.length && !dropped) return el('p', {}, first[0])
  return [
    first.length > 0 && listOf(first),
    more.length > 0 && el('details', {}, el('summary', {}, `${more.length} more`), listOf(more)),
    dropped > 0 && el('p', { class: 'muted' }, `and ${count(dropped, 'other')}`),
  ]
}
