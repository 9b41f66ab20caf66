// One change: why it happened, what it changed, and what the sink did.
import { el, update } from '../dom.js'
import { address, getJSON, getText, pipelinePath } from '../api.js'
import { link } from '../router.js'
import { draw } from '../store.js'
import { ago, clock, measured } from '../time.js'
import { changeWords, count, outcomeWords, triggerWords } from '../words.js'
import { diff, drawDiff } from './diff.js'
import { steps } from './steps.js'

export function change(route, pipeline) {
  const { generation } = route
  const path = pipelinePath(pipeline, `/generations/${generation}`)
  let shown = null // the change
  let text = null // the diff
  let newest = generation // the generation of the newest change that is known
  let error = ''
  const load = async () => {
    try {
      const page = await getJSON(pipelinePath(pipeline, '/generations?limit=1'))
      newest = Math.max(newest, page.changes[0]?.generation ?? 0)
      shown = await getJSON(path)
      error = ''
      draw()
      if (text === null)
        text = await getText(`${path}/diff`).catch((err) => {
          if (err.status === 410 || err.status === 404) return ''
          throw err
        })
    } catch (err) {
      error = err.message
    }
    draw()
  }
  load()
  return {
    changed: (name, changed) => {
      if (name !== pipeline) return
      newest = Math.max(newest, changed.generation)
      if (changed.generation === generation) load()
      else draw()
    },
    reset: load,
    draw(main) {
      update(
        main,
        heading(pipeline, generation, shown, newest),
        error && el('p', { class: 'failure' }, error),
        shown && [
          facts(pipeline, shown),
          instances(shown),
          steps(shown),
          commands(shown),
          lines('Excluded', shown.excluded),
          lines('Notes of the template', shown.notes),
          details(shown),
          lineChanges(shown, text),
        ],
      )
      const target = main.querySelector('.diff')
      if (target) drawDiff(target, text)
    },
  }
}

function heading(pipeline, generation, shown, newest) {
  const words = shown && changeWords(shown)
  return el(
    'div',
    { class: 'title' },
    el('h2', {}, `Change ${generation} `, words && el('span', { class: `badge ${words.tone}` }, words.word)),
    el(
      'nav',
      { 'aria-label': 'Other changes' },
      generation > 1 && el('a', { href: link(pipeline, `changes/${generation - 1}`), rel: 'prev' }, '← Earlier'),
      generation < newest && el('a', { href: link(pipeline, `changes/${generation + 1}`), rel: 'next' }, 'Later →'),
      el('a', { href: link(pipeline, 'changes') }, 'All changes'),
    ),
  )
}

function facts(pipeline, c) {
  const rows = [
    ['Trigger', triggerWords(c.trigger)],
    ['Outcome', outcomeWords(c)],
    c.error && ['Error', el('span', { class: 'failure' }, c.error)],
    c.action && ['Action', c.action],
    c.reason && ['Reason', c.reason],
    ['Received', clock(c.received), ' (', ago(c.received), ')'],
    c.outcome !== 'event' && ['Took', measured(c.seconds), c.attempts > 1 && ` in ${count(c.attempts, 'attempt')}`],
    c.document > 0 && [
      'Document',
      c.document === c.generation
        ? ''
        : [el('a', { href: link(pipeline, `changes/${c.document}`) }, `of change ${c.document}`), ', '],
      el(
        'a',
        {
          href: address(pipelinePath(pipeline, `/generations/${c.generation}/document`)),
          target: '_blank',
          rel: 'noopener',
        },
        'show as text',
      ),
    ],
  ]
  return el(
    'dl',
    { class: 'facts' },
    rows.filter(Boolean).map(([term, ...description]) => [el('dt', {}, term), el('dd', {}, description)]),
  )
}

function section(title, ...content) {
  return el('section', { key: title }, el('h3', {}, title), content)
}

function instances(c) {
  return (
    c.instances?.length > 0 &&
    section(
      'Instances',
      el(
        'ul',
        { class: 'lines' },
        c.instances.map((line) => el('li', {}, line)),
      ),
      c.instances_more > 0 && el('p', { class: 'muted' }, `and ${count(c.instances_more, 'other line')}`),
    )
  )
}

const lines = (title, all) =>
  all?.length > 0 &&
  section(
    title,
    el(
      'ul',
      { class: 'lines' },
      all.map((line) => el('li', {}, line)),
    ),
  )

function commands(c) {
  return (
    c.commands?.length > 0 &&
    section(
      'Commands',
      el(
        'div',
        { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': 'Commands' },
        el(
          'table',
          { class: 'commands' },
          el('thead', {}, el('tr', {}, el('th', { scope: 'col' }, 'Sent'), el('th', { scope: 'col' }, 'Answer'))),
          el(
            'tbody',
            {},
            c.commands.map(({ sent, answer }) =>
              el('tr', {}, el('td', {}, sent), el('td', {}, answer || el('span', { class: 'muted' }, 'none'))),
            ),
          ),
        ),
      ),
      c.commands_more > 0 && el('p', { class: 'muted' }, `and ${count(c.commands_more, 'other command')}`),
    )
  )
}

function details(c) {
  return (
    c.details?.length > 0 &&
    section(
      'Details of the sink',
      el('pre', { tabindex: '0', role: 'region', 'aria-label': 'Details of the sink' }, c.details.join('\n')),
    )
  )
}

function lineChanges(c, text) {
  const known = c.lines_added > 0 || c.lines_removed > 0 || text
  if (!known && !c.diff_dropped) return null
  const title = el(
    'h3',
    {},
    'Lines ',
    el('span', { class: 'added' }, `+${c.lines_added}`),
    ' ',
    el('span', { class: 'removed' }, `−${c.lines_removed}`),
  )
  return el(
    'section',
    { key: 'diff' },
    title,
    c.diff_dropped && el('p', { class: 'muted' }, 'The diff is no longer kept.'),
    c.diff_truncated && el('p', { class: 'muted' }, 'The diff is longer than what is kept; this is its beginning.'),
    text === null && !c.diff_dropped && el('p', { class: 'muted' }, 'Loading'),
    text && diff(),
  )
}
