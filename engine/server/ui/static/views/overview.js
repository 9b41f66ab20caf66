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
const refreshInterval = 30000 // of the charts, in milliseconds

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
  return {
    routed: load,
    changed: (name, change) => {
      if (name === pipeline) list.put(change)
    },
    reset: () => {
      list.load()
      fetchSeries(pipeline)
    },
    close: () => {
      clearInterval(timer)
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
