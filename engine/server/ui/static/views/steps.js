// The steps of a change as bars on one time axis.
import { el } from '../dom.js'
import { measured } from '../time.js'

export function steps({ steps: all }) {
  if (!all?.length) return null
  const end = Math.max(...all.map((step) => step.start + step.seconds))
  return el(
    'section',
    { key: 'steps' },
    el('h3', {}, 'Steps'),
    el(
      'table',
      { class: 'steps' },
      el(
        'thead',
        { class: 'hidden' },
        el(
          'tr',
          {},
          ['Step', 'Duration', 'Position'].map((title) => el('th', { scope: 'col' }, title)),
        ),
      ),
      el(
        'tbody',
        {},
        all.map((step) =>
          el(
            'tr',
            {},
            el('th', { scope: 'row' }, step.name),
            el('td', { class: 'took' }, measured(step.seconds)),
            el('td', { title: `begins after ${measured(step.start)}` }, bar(step, end)),
          ),
        ),
      ),
    ),
  )
}

/** Returns the bar as a drawing, because the content security policy allows no style attributes. */
function bar(step, end) {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg')
  const rect = document.createElementNS('http://www.w3.org/2000/svg', 'rect')
  const percent = (seconds) => (end > 0 ? (100 * seconds) / end : 0)
  const width = Math.max(0.5, percent(step.seconds))
  const set = (node, attributes) => Object.entries(attributes).forEach(([name, value]) => node.setAttribute(name, value))
  set(svg, { viewBox: '0 0 100 10', preserveAspectRatio: 'none', 'aria-hidden': 'true' })
  set(rect, { x: Math.min(percent(step.start), 100 - width), width, height: 10 })
  svg.append(rect)
  return svg
}
