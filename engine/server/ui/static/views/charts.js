// Charts of the last hours: convergence, changes, reloads and instances per minute.
import { el, update } from '../dom.js'
import { store } from '../store.js'
import { measured } from '../time.js'
import uPlot from '../vendor/uplot/uPlot.esm.js'

const height = 120
const longest = 6 * 3600 // seconds
const shortest = 1800
const minute = 60

/** What each chart shows. total describes all values in words. */
const kinds = [
  {
    key: 'convergence',
    title: 'Convergence',
    points: true,
    unit: measured,
    value: (p) => (p.changes > 0 && p.convergence_max > 0 ? p.convergence_max : null),
    total: (points) => {
      const slowest = Math.max(0, ...points.map((p) => p.convergence_max ?? 0))
      return slowest ? `slowest ${measured(slowest)}` : 'none measured'
    },
  },
  {
    key: 'changes',
    title: 'Changes',
    bars: true,
    value: (p) => p.changes || null,
    total: (points) => `${sum(points, 'changes')} in ${span(points)}`,
  },
  {
    key: 'reloads',
    title: 'Reloads',
    bars: true,
    value: (p) => p.reloads || null,
    total: (points) => `${sum(points, 'reloads')} in ${span(points)}`,
  },
  {
    key: 'instances',
    title: 'Live instances',
    value: (p) => p.instances,
    total: (points) => {
      const newest = points.at(-1)?.instances ?? null // null before the first snapshot
      return newest === null ? 'no snapshot yet' : `${newest.toLocaleString('en')} now`
    },
  },
]

const sum = (points, name) => points.reduce((all, p) => all + (p[name] ?? 0), 0).toLocaleString('en')

/** Returns how long the points cover: a series begins with the daemon. */
const span = (points) => (points.length < 60 ? `${points.length} min` : `${Math.round(points.length / 60)} h`)

export class Charts {
  #pipeline
  #plots = new Map() // by kind
  #drawn = null // the series that is shown
  #resized = new ResizeObserver(() => this.#resize())
  #scheme = matchMedia('(prefers-color-scheme: dark)')
  #recolor = () => {
    this.#clear()
    this.draw()
  }

  constructor(pipeline) {
    this.#pipeline = pipeline
    this.#scheme.addEventListener('change', this.#recolor)
  }

  close() {
    this.#resized.disconnect()
    this.#scheme.removeEventListener('change', this.#recolor)
    this.#clear()
  }

  /** Describes the charts; draw fills them. */
  section() {
    const points = store.series.get(this.#pipeline)?.points
    return el(
      'section',
      { key: 'charts', class: 'charts', 'aria-labelledby': 'charts-title' },
      el('h2', { id: 'charts-title' }, 'Last 6 hours'),
      el(
        'div',
        { class: 'grid' },
        kinds.map((kind) =>
          el(
            'figure',
            { key: kind.key },
            el('figcaption', {}, el('strong', {}, kind.title), el('span', { class: 'muted' }, points ? kind.total(points) : '')),
            el('div', { class: 'plot', id: `plot-${kind.key}`, key: 'plot', opaque: true, 'aria-hidden': 'true' }),
          ),
        ),
      ),
    )
  }

  /** Draws the points if they have changed. */
  draw() {
    const series = store.series.get(this.#pipeline)
    if (!series || this.#drawn === series) return
    this.#drawn = series
    const range = rangeOf(series.points)
    for (const kind of kinds) {
      const data = dataOf(series.points, kind)
      const plot = this.#plots.get(kind.key)
      const target = document.getElementById(`plot-${kind.key}`)
      if (plot?.root.isConnected) {
        plot.setData(data, false)
        plot.setScale('x', range)
      } else {
        plot?.destroy()
        update(target)
        this.#plots.set(kind.key, newPlot(kind, data, target, range))
        this.#resized.observe(target)
      }
    }
  }

  #resize() {
    for (const plot of this.#plots.values()) {
      const width = plot.root.parentElement?.clientWidth
      if (width && width !== plot.width) plot.setSize({ width, height })
    }
  }

  #clear() {
    for (const plot of this.#plots.values()) plot.destroy()
    this.#plots.clear()
    this.#drawn = null
  }
}

/** Returns the time that charts show, in seconds: a young daemon has few points. */
function rangeOf(points) {
  const max = Math.floor(Date.now() / 1000)
  const first = points.length ? Date.parse(points[0].time) / 1000 - minute : max
  return { min: Math.max(max - longest, Math.min(first, max - shortest)), max }
}

/** Returns the times and values of one chart. Minutes without a point get none, so that lines have gaps. */
function dataOf(points, kind) {
  const times = []
  const values = []
  for (const p of points) {
    const time = Date.parse(p.time) / 1000
    if (times.length && time - times.at(-1) > 1.5 * minute) {
      times.push(times.at(-1) + minute)
      values.push(null)
    }
    times.push(time)
    values.push(kind.value(p) ?? null)
  }
  return [times, values]
}

function newPlot(kind, data, target, range) {
  const style = getComputedStyle(document.documentElement)
  const color = (name) => style.getPropertyValue(`--${name}`).trim()
  const format = kind.unit ?? ((value) => value.toLocaleString('en'))
  const axis = {
    stroke: color('muted'),
    font: '11px system-ui, sans-serif',
    grid: { stroke: color('grid'), width: 1 },
    ticks: { show: false },
  }
  const series = { stroke: color('accent'), width: 1.5, points: { show: false } }
  if (kind.points) Object.assign(series, { paths: () => null, points: { show: true, size: 5, fill: color('accent') } })
  if (kind.bars) Object.assign(series, { paths: uPlot.paths.bars({ size: [1, 6, 2] }), fill: color('accent') })
  if (!kind.points && !kind.bars) Object.assign(series, { paths: uPlot.paths.stepped({ align: 1 }) })
  return new uPlot(
    {
      width: target.clientWidth || 300,
      height,
      legend: { show: false },
      padding: [6, 18, 0, 0],
      cursor: { x: false, y: false, drag: { x: false, y: false } },
      scales: {
        x: { time: true, ...range, auto: false },
        y: { range: (_, min, max) => [0, Math.max(kind.points ? 0.01 : 1, (max ?? 0) * 1.1)] },
      },
      series: [{}, series],
      axes: [
        { ...axis, size: 22, space: 60, values: (_, times) => times.map(hour) },
        { ...axis, size: 48, space: 28, incrs: kind.unit ? undefined : wholeNumbers, values: (_, all) => all.map(format) },
      ],
    },
    data,
    target,
  )
}

const hour = (time) => new Date(time * 1000).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' })

const wholeNumbers = [1, 2, 5].flatMap((n) => [1, 10, 100, 1000, 10000].map((power) => n * power)).sort((a, b) => a - b)
