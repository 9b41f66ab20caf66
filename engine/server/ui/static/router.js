// The address of the page after "#" says what is shown: #/pipelines/NAME/changes?action=reload, for example.

/**
 * @typedef {Object} Route
 * @property {string} view overview, services, instances, changes or change
 * @property {string} pipeline "" for the first one
 * @property {number} generation of a change
 * @property {URLSearchParams} query
 */

/** Returns the route of the present address. */
export function currentRoute() {
  const [path, query] = location.hash.replace(/^#\/?/, '').split('?')
  const parts = path.split('/').map(decode)
  const route = { view: 'overview', pipeline: '', generation: 0, query: new URLSearchParams(query) }
  if (parts[0] !== 'pipelines' || !parts[1]) return route
  route.pipeline = parts[1]
  if (parts[2] === 'services' || parts[2] === 'instances') route.view = parts[2]
  if (parts[2] === 'changes') {
    route.generation = Number(parts[3]) || 0
    route.view = route.generation ? 'change' : 'changes'
  }
  return route
}

function decode(part) {
  try {
    return decodeURIComponent(part)
  } catch {
    return part
  }
}

/** Returns the address of a view. rest is a path such as "instances" or "changes/7"; query has no empty values. */
export function link(pipeline, rest = '', query = {}) {
  const set = Object.entries(query).filter(([, value]) => value)
  const search = set.length ? `?${new URLSearchParams(set)}` : ''
  return `#/pipelines/${encodeURIComponent(pipeline)}${rest && `/${rest}`}${search}`
}

/** Replaces the present address without a new entry in the browser's history, for filters. */
export function replaceRoute(hash) {
  history.replaceState(null, '', hash)
  dispatchEvent(new HashChangeEvent('hashchange'))
}

/** Calls shown at once and whenever the address changes. Addresses within the page, such as #main, are no routes. */
export function startRouter(shown) {
  addEventListener('hashchange', () => {
    if (!location.hash || location.hash.startsWith('#/')) shown(currentRoute())
  })
  shown(currentRoute())
}
