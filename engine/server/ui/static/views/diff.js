// A unified diff side by side, or one below the other on narrow screens. Changed words within a line are marked.
import { el, update } from '../dom.js'
import { draw } from '../store.js'
import { parsePatch } from '../vendor/diff/libesm/patch/parse.js'
import { diffWordsWithSpace } from '../vendor/diff/libesm/diff/word.js'

const longestCompared = 400 // characters of a line whose words are compared
const shownAtFirst = 1000 // lines
const narrow = matchMedia('(max-width: 800px)')
narrow.addEventListener('change', draw)

let parsed = { text: null } // the diff that was parsed last
let limit = shownAtFirst

const drawn = new WeakMap() // what each element shows

/** Returns the element that drawDiff fills. */
export const diff = () => el('div', { key: 'diff', class: 'diff', opaque: true })

/** Shows the text of a unified diff in the element. It does nothing if the element shows that already, because it takes long. */
export function drawDiff(target, text) {
  if (parsed.text !== text) {
    parsed = parse(text)
    limit = shownAtFirst
  }
  const shown = JSON.stringify([limit, narrow.matches, text])
  if (drawn.get(target) === shown) return
  drawn.set(target, shown)
  const rows = parsed.rows.slice(0, limit)
  const rest = parsed.rows.length - rows.length
  update(
    target,
    el(
      'div',
      { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': 'Changed lines' },
      narrow.matches ? unified(rows) : sideBySide(rows),
    ),
    rest > 0 &&
      el(
        'button',
        {
          type: 'button',
          onclick: () => {
            limit += 5 * shownAtFirst
            draw()
          },
        },
        `Show ${Math.min(rest, 5 * shownAtFirst).toLocaleString('en')} more lines`,
      ),
  )
}

/**
 * Parses the diff into rows: {heading}, or {before, after} with lines {number, parts, kind}, either of which may be missing.
 * A text that is no unified diff becomes one row a line.
 */
function parse(text) {
  let files
  try {
    files = parsePatch(complete(text))
  } catch {
    return { text, rows: text.split('\n').map((line) => ({ heading: line })) }
  }
  const rows = []
  for (const file of files) {
    if (files.length > 1 && file.hunks.length) rows.push({ heading: file.newFileName || file.oldFileName })
    for (const hunk of file.hunks) {
      rows.push({ heading: `line ${hunk.newStart}` })
      addHunk(rows, hunk)
    }
  }
  return { text, rows }
}

/** Returns the diff with the true number of lines in the head of its last hunk: the rest of a long diff is not kept. */
function complete(text) {
  const at = text.lastIndexOf('\n@@ ') + 1
  const [head, ...lines] = text.slice(at).replace(/\n$/, '').split('\n')
  const number = (signs) => lines.filter((line) => signs.includes(line[0])).length
  const counted = head.replace(
    /^@@ -(\d+)(?:,\d+)? \+(\d+)(?:,\d+)? @@/,
    (_, before, after) => `@@ -${before},${number(' -')} +${after},${number(' +')} @@`,
  )
  return `${text.slice(0, at)}${[counted, ...lines].join('\n')}\n`
}

function addHunk(rows, hunk) {
  let [before, after] = [hunk.oldStart, hunk.newStart]
  let removed = []
  let added = []
  const flush = () => {
    for (let i = 0; i < Math.max(removed.length, added.length); i++) rows.push(pair(removed[i], added[i]))
    removed = []
    added = []
  }
  for (const line of hunk.lines) {
    const content = line.slice(1)
    if (line[0] === '-') removed.push({ number: before++, text: content, kind: 'removed' })
    else if (line[0] === '+') added.push({ number: after++, text: content, kind: 'added' })
    else if (line[0] === ' ') {
      flush()
      rows.push({
        before: { number: before++, parts: [{ value: content }], kind: 'same' },
        after: { number: after++, parts: [{ value: content }], kind: 'same' },
      })
    }
  }
  flush()
}

/** Returns the row of a removed and an added line, with the parts that differ if both exist. */
function pair(removed, added) {
  let parts = null
  if (removed && added && removed.text.length < longestCompared && added.text.length < longestCompared) {
    parts = diffWordsWithSpace(removed.text, added.text)
    if (!parts.some((part) => !part.added && !part.removed && part.value.trim())) parts = null // nothing in common
  }
  const line = (one, other) => one && { ...one, parts: parts ? parts.filter((part) => !part[other]) : [{ value: one.text }] }
  return { before: line(removed, 'added'), after: line(added, 'removed') }
}

const signs = { removed: '−', added: '+', same: ' ' }
const spoken = { removed: 'removed: ', added: 'added: ' }

function cells(line) {
  if (!line) return [el('td', { class: 'number none' }), el('td', { class: 'none' })]
  return [
    el('td', { class: `number ${line.kind}` }, String(line.number)),
    el(
      'td',
      { class: line.kind },
      spoken[line.kind] && el('span', { class: 'hidden' }, spoken[line.kind]),
      el('span', { class: 'sign', 'aria-hidden': 'true' }, signs[line.kind]),
      el(
        'code',
        {},
        line.parts.map((part) => (part.added || part.removed ? el('mark', {}, part.value) : part.value)),
      ),
    ),
  ]
}

const headingRow = (text, columns) => el('tr', { class: 'hunk' }, el('td', { colspan: columns }, text))

function sideBySide(rows) {
  return el(
    'table',
    { class: 'side-by-side', key: 'side-by-side' },
    el('colgroup', {}, el('col', { class: 'number' }), el('col'), el('col', { class: 'number' }), el('col')),
    el(
      'thead',
      {},
      el('tr', {}, el('th', { colspan: 2, scope: 'col' }, 'Before'), el('th', { colspan: 2, scope: 'col' }, 'After')),
    ),
    el(
      'tbody',
      {},
      rows.map((row) => ('heading' in row ? headingRow(row.heading, 4) : el('tr', {}, cells(row.before), cells(row.after)))),
    ),
  )
}

function unified(rows) {
  const out = []
  let later = [] // added lines, which come after the removed ones
  const flush = () => {
    out.push(...later)
    later = []
  }
  const row = (line) => el('tr', {}, cells(line))
  for (const { heading, before, after } of rows) {
    if (heading !== undefined || before?.kind === 'same') {
      flush()
      out.push(heading !== undefined ? headingRow(heading, 2) : row(after))
      continue
    }
    if (before) out.push(row(before))
    if (after) later.push(row(after))
  }
  flush()
  return el(
    'table',
    { class: 'unified', key: 'unified' },
    el('colgroup', {}, el('col', { class: 'number' }), el('col')),
    el('tbody', {}, out),
  )
}
