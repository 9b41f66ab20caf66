// Times and durations in words.
import { el } from './dom.js'

const units = [
  [86400, 'd'],
  [3600, 'h'],
  [60, 'min'],
  [1, 's'],
]

/** Returns a duration such as "3 min" or "2 h 5 min". */
export function duration(seconds) {
  const rest = Math.max(0, Math.round(seconds))
  const first = units.findIndex(([size]) => rest >= size)
  if (first < 0) return '0 s'
  const [size, unit] = units[first]
  const whole = Math.floor(rest / size)
  const next = units[first + 1]
  const part = next && whole < 10 && size > 60 ? Math.floor((rest % size) / next[0]) : 0
  return `${whole} ${unit}` + (part ? ` ${part} ${next[1]}` : '')
}

/** Returns a short measured time such as "12 ms" or "1.4 s". */
export function measured(seconds) {
  if (seconds === null || seconds === undefined) return ''
  if (seconds === 0) return '0'
  if (seconds < 0.00005) return '< 0.1 ms'
  if (seconds < 0.01) return `${(seconds * 1000).toFixed(1)} ms`
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`
  if (seconds < 60) return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`
  return duration(seconds)
}

function relative(seconds) {
  if (seconds < -1) return `in ${duration(-seconds)}`
  return seconds < 1 ? 'now' : `${duration(seconds)} ago`
}

const isTime = (text) => Boolean(text) && !text.startsWith('0001-')

/** Returns an element that shows how long ago a time was, and the time itself in its title. */
export function ago(text, { bare = false } = {}) {
  if (!isTime(text)) return el('span', { class: 'muted' }, '–')
  const date = new Date(text)
  const kind = bare ? 'for' : 'ago'
  return el('time', { datetime: text, title: date.toLocaleString(), 'data-relative': kind }, words(date, kind))
}

function words(date, kind) {
  const seconds = (Date.now() - date) / 1000
  if (kind === 'for') return duration(seconds)
  if (kind === 'until' && seconds > -1) return 'in a moment'
  return relative(seconds)
}

/** Returns an element that shows in how long a time comes. */
export function until(text) {
  const node = ago(text)
  node.dataset.relative = 'until'
  node.textContent = words(new Date(text), 'until')
  return node
}

/** Returns an element with the time of day, preceded by the date if it is not today. */
export function clock(text) {
  if (!isTime(text)) return el('span', { class: 'muted' }, '–')
  const date = new Date(text)
  const today = date.toDateString() === new Date().toDateString()
  const shown = today ? date.toLocaleTimeString() : date.toLocaleString()
  return el('time', { datetime: text, title: date.toLocaleString() }, shown)
}

/** Keeps the relative times of the document up to date. */
export function startClock() {
  setInterval(() => {
    for (const node of document.querySelectorAll('time[data-relative]')) {
      const text = words(new Date(node.dateTime), node.dataset.relative)
      if (node.textContent !== text) node.firstChild.data = text
    }
  }, 1000)
}
