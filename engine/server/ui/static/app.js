// The status page. Views describe what they show with elements; update changes the document into that.
import { announce, el, update } from './dom.js'
import { startStore, store, draw, pipelineOf } from './store.js'
import { startRouter } from './router.js'
import { startClock } from './time.js'
import { problemsOf } from './problems.js'
import { drawHeader, drawFooter, headline } from './views/frame.js'
import { overview } from './views/overview.js'
import { services } from './views/services.js'
import { instances } from './views/instances.js'
import { changes } from './views/changes.js'
import { change } from './views/change.js'

const views = { overview, services, instances, changes, change }

let route = null
let view = null // the one that is shown
let viewed = '' // its pipeline

/** Shows the view of a route. A view of the same kind and pipeline stays. */
function show(next) {
  const old = route
  route = next
  if (!old || old.view !== next.view || old.pipeline !== next.pipeline || old.generation !== next.generation) {
    closeView()
    scrollTo(0, 0)
    if (old) document.getElementById('main').focus({ preventScroll: true })
  } else view?.routed?.(next)
  draw()
}

function closeView() {
  view?.close?.()
  view = null
}

let announced = ''

function drawAll() {
  const problems = store.status ? problemsOf(store.status) : []
  const pipeline = pipelineOf(route.pipeline)
  const { text } = headline(problems)
  drawHeader(route, pipeline, problems)
  drawFooter()
  if (text !== announced) announce(text)
  announced = text
  if (view && viewed !== pipeline?.name) closeView() // a configuration reload removed it
  if (pipeline && !view) {
    view = views[route.view](route, pipeline.name)
    viewed = pipeline.name
  }
  const main = document.getElementById('main')
  if (view) view.draw(main, { pipeline, problems })
  else if (store.status) update(main, missing(route.pipeline))
  document.title = `${text} – haproxy-api`
}

/** Returns what is shown instead of a view. A name that is not configured may be that of a removed pipeline. */
function missing(name) {
  if (!name) return el('p', { class: 'empty' }, 'There is no pipeline.')
  return el('p', { class: 'empty' }, `There is no pipeline ${name}. `, el('a', { href: '#/' }, 'Show the first one'))
}

startRouter(show)
startStore({
  drawn: drawAll,
  change: (pipeline, changed) => view?.changed?.(pipeline, changed),
  reset: () => view?.reset?.(),
})
startClock()
