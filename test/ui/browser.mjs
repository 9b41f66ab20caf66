// Starts Chromium and opens the status page of a daemon, which DAEMON_URL names. CONTROL_URL is of the Go test that started it.
import { chromium } from 'playwright-core'
import { answer } from './fixtures.mjs'

export const daemonURL = process.env.DAEMON_URL

/** Starts the browser that CHROMIUM names, or that of Debian. */
export const launch = () =>
  chromium.launch({
    executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
    ...waitLimit,
    args: ['--no-sandbox', '--disable-dev-shm-usage', '--disable-gpu'],
  })

/**
 * Opens a page. Faults of the page, such as a script error, a violation of the content security policy or a request to
 * another host, are added to page.faults.
 * @param {import('playwright-core').Browser} browser
 * @param {Object} options those of a browser context, and
 * @param {Object} options.answers of the API, see fixtures.mjs; without them the daemon answers
 */
export async function open(browser, { answers, hash = '', url = daemonURL, ...options } = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, reducedMotion: 'reduce', ...options })
  context.setDefaultTimeout(waitLimit.timeout) // also for clicks and the like
  const page = await context.newPage()
  page.faults = []
  page.on('pageerror', (err) => page.faults.push(`script error: ${err.stack}`))
  page.on('console', (message) => {
    // The browser logs each answer that is an error, which tests bring about.
    if (message.type() === 'error' && !message.text().startsWith('Failed to load resource')) page.faults.push(message.text())
  })
  page.on('request', (request) => {
    if (!request.url().startsWith(url) && !request.url().startsWith('data:')) page.faults.push(`request to ${request.url()}`)
  })
  await page.addInitScript(() => {
    document.addEventListener('securitypolicyviolation', (event) =>
      console.error(`violation of ${event.effectiveDirective}: ${event.blockedURI} ${event.sample}`),
    )
  })
  if (answers) await page.route(`${url}/api/v1/**`, (route) => fulfill(route, answers, url))
  await page.goto(`${url}/${hash}`)
  return page
}

function fulfill(route, answers, url) {
  const { pathname, searchParams } = new URL(route.request().url())
  const path = pathname.slice(new URL(url).pathname.replace(/\/$/, '').length + '/api/v1/'.length)
  if (path === 'events') return route.continue() // the daemon has the stream
  const body = answer(answers, decodeURIComponent(path), searchParams)
  if (body === undefined) return route.fulfill({ status: 404, json: { errors: ['there is no such thing'] } })
  return typeof body === 'string' ? route.fulfill({ body, contentType: 'text/x-diff' }) : route.fulfill({ json: body })
}

/** Asks the Go test for something: to add an instance, for example. */
export async function control(action, { body, ...query } = {}) {
  const response = await fetch(`${process.env.CONTROL_URL}/${action}?${new URLSearchParams(query)}`, { method: 'POST', body })
  if (!response.ok) throw new Error(`${action}: ${await response.text()}`)
}

/** How long a test waits for something, in milliseconds. It is generous, because tests do not measure time. */
export const waitLimit = { timeout: 120_000 }

/** Waits until events arrive. */
export const live = (page) => page.locator('.connection', { hasText: 'live' }).waitFor(waitLimit)

/**
 * Records the tasks of the page. The function that it returns ends that, and returns the longest times in milliseconds that a
 * task needed the processor and took. The second one includes the work of other programs.
 */
export async function traceTasks(browser, page) {
  await browser.startTracing(page, { categories: ['toplevel'] })
  return async () => {
    const events = JSON.parse(await browser.stopTracing()).traceEvents
    const id = (event) => `${event.pid}/${event.tid}`
    const threads = new Set(
      events.filter((event) => event.name === 'thread_name' && event.args.name === 'CrRendererMain').map(id),
    )
    const tasks = events.filter((event) => event.ph === 'X' && event.name.endsWith('RunTask') && threads.has(id(event)))
    return ['tdur', 'dur'].map((name) => Math.round(Math.max(0, ...tasks.map((task) => task[name] ?? 0)) / 1000))
  }
}
