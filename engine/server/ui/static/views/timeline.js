// The list of changes, newest first, with its filters.
import { el } from '../dom.js'
import { filters } from '../changelist.js'
import { link } from '../router.js'
import { ago, measured } from '../time.js'
import { changeWords, triggerWords } from '../words.js'

const maxInstances = 3 // lines of a change in the list

/** Returns the links that choose a filter. rest is the view that they lead to. */
export function filterBar(list, rest) {
  return el(
    'nav',
    { class: 'filters', 'aria-label': 'Filter changes by action' },
    Object.entries(filters).map(([name, { title }]) =>
      el(
        'a',
        {
          href: link(list.pipeline, rest, { action: name }),
          'aria-current': name === list.filter ? 'true' : false,
        },
        title,
      ),
    ),
  )
}

/** Returns the first changes of a list; limit 0 stands for all. */
export function timeline(list, limit = 0) {
  if (list.error) return el('p', { class: 'failure' }, `The changes cannot be fetched: ${list.error}`)
  if (!list.items) return el('p', { class: 'muted' }, 'Loading')
  const items = limit ? list.items.slice(0, limit) : list.items
  if (!items.length) return el('p', { class: 'empty' }, list.filter ? 'No such change.' : 'No change yet.')
  return el(
    'ol',
    { class: 'timeline' },
    items.map((change) => entry(list.pipeline, change)),
  )
}

function entry(pipeline, change) {
  const { word, tone } = changeWords(change)
  return el(
    'li',
    { key: change.generation, class: tone },
    el('span', { class: 'when' }, ago(change.updated || change.received)),
    el('span', { class: `badge ${tone}` }, word),
    el(
      'div',
      { class: 'what' },
      el('a', { href: link(pipeline, `changes/${change.generation}`) }, summary(change)),
      el('span', { class: `why ${tone === 'error' && change.error ? 'failure' : ''}` }, why(change)),
    ),
    el(
      'span',
      { class: 'took', title: `generation ${change.generation}` },
      change.outcome === 'event' ? '' : measured(change.seconds),
    ),
  )
}

/** Returns what changed, in one line. */
function summary(change) {
  const lines = change.instances ?? []
  if (change.outcome === 'event') return change.reason || changeWords(change).word
  if (!lines.length) return triggerWords(change.trigger)
  const more = lines.length - maxInstances + (change.instances_more ?? 0)
  return lines.slice(0, maxInstances).join('; ') + (more > 0 ? `; ${more} more` : '')
}

function why(change) {
  const parts = []
  if (change.instances?.length || change.outcome === 'event') parts.push(triggerWords(change.trigger))
  if (change.error) parts.push(change.error)
  else if (change.reason && change.outcome !== 'event') parts.push(change.reason)
  return parts.join(' · ')
}
