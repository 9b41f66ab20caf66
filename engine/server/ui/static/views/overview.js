// The first view: problems, pipelines, the newest changes, and charts of the last hours.
import { el, update } from '../dom.js'
import { ChangeList } from '../changelist.js'
import { link } from '../router.js'
import { fetchSeries } from '../store.js'
import { banners } from './banners.js'
import { Charts } from './charts.js'
import { pipelines } from './pipelines.js'
import { filterBar, timeline } from './timeline.js'

const shownChanges = 20
// How often the charts are fetched, in milliseconds: always, and after a change.
const refreshInterval = 30000
const changePause = 5000

export function overview(route, pipeline) {
  const charts = new Charts(pipeline)
  let list
  const load = (next) => {
    list = new ChangeList(pipeline, next.query.get('action') ?? '', shownChanges)
    list.load()
  }
  load(route)
  fetchSeries(pipeline)
  const timer = setInterval(() => {
    if (!document.hidden) fetchSeries(pipeline)
  }, refreshInterval)
  let waiting
  const fetchSoon = () => {
    waiting ??= setTimeout(() => {
      waiting = undefined
      fetchSeries(pipeline)
    }, changePause)
  }
  return {
    routed: load,
    changed: (name, change) => {
      if (name !== pipeline) return
      list.put(change)
      fetchSoon()
    },
    reset: () => {
      list.load()
      fetchSeries(pipeline)
    },
    close: () => {
      clearInterval(timer)
      clearTimeout(waiting)
      charts.close()
    },
    draw(main, { pipeline: status, problems }) {
      update(
        main,
        banners(problems),
        pipelines(status),
        el(
          'div',
          { key: 'columns', class: 'columns' },
          el(
            'section',
            { key: 'changes', 'aria-labelledby': 'changes-title' },
            el('div', { class: 'title' }, el('h2', { id: 'changes-title' }, 'Changes'), filterBar(list, '')),
            timeline(list, shownChanges),
            el('p', {}, el('a', { href: link(pipeline, 'changes') }, 'All changes')),
          ),
          charts.section(),
        ),
      )
      charts.draw()
    },
  }
}
