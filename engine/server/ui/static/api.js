// Requests to the daemon's API.
import { askForToken, forgetToken, token } from './token.js'

const timeout = 15000

/** A response that is not a success. Its message is what the daemon said. */
export class APIError extends Error {
  constructor(status, errors) {
    super(errors.join('; ') || `the daemon answered with status ${status}`)
    this.status = status
  }
}

/** Returns the address of a path of the daemon. It is relative to the page, which a reverse proxy may serve below another path. */
export const address = (path) => new URL(path, document.baseURI)

/** Returns the path of a pipeline in the API. */
export const pipelinePath = (name, rest = '') => `api/v1/pipelines/${encodeURIComponent(name)}${rest}`

async function request(method, path) {
  // The header tells the daemon that a script asks, so that the browser shows no password dialog of its own.
  const headers = { 'X-Requested-With': 'XMLHttpRequest' }
  if (token()) headers.Authorization = `Bearer ${token()}`
  let response
  try {
    response = await fetch(address(path), { method, headers, signal: AbortSignal.timeout(timeout) })
  } catch (err) {
    throw new Error(err.name === 'TimeoutError' ? `no answer within ${timeout / 1000} s` : 'no connection', { cause: err })
  }
  if (response.ok) return response
  const body = await response.json().catch(() => ({}))
  throw new APIError(response.status, body.errors ?? [])
}

/** Returns the decoded JSON of a path. */
export const getJSON = async (path) => (await request('GET', path)).json()

/** Returns the text of a path. */
export const getText = async (path) => (await request('GET', path)).text()

/**
 * Posts to a path. If the daemon needs the token, it asks for the token and tries again. It returns the daemon's message, and null
 * if the user cancels.
 */
export async function post(path) {
  for (let reason = ''; ;) {
    try {
      return (await (await request('POST', path)).json()).message
    } catch (err) {
      if (err.status !== 401) throw err
      if (token()) reason = 'The daemon does not accept this token.'
      forgetToken()
      if (!(await askForToken(reason))) return null
    }
  }
}
