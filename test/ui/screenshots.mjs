// Writes screenshots of the status page into the directory SCREENSHOTS: those of the documentation, or those that arguments name.
import { join } from 'node:path'
import { launch, live, open } from './browser.mjs'
import { calm, empty, hostile, instances, problem, trouble } from './fixtures.mjs'

const directory = process.env.SCREENSHOTS
const narrow = { viewport: { width: 360, height: 780 }, deviceScaleFactor: 2 }
const tall = { viewport: { width: 1280, height: 980 } }
const root = '#/pipelines/haproxy'
const many = () => calm({ list: instances(10000) })

/** The screenshots by name. Those of the documentation begin with status. */
const shots = {
  'status-light': { answers: problem('template'), ...tall },
  'status-dark': { answers: calm(), colorScheme: 'dark', ...tall },
  'status-narrow': { answers: problem('held'), ...narrow },
  'trouble-light': { answers: trouble(), fullPage: true },
  'trouble-dark': { answers: trouble(), fullPage: true, colorScheme: 'dark' },
  'trouble-narrow': { answers: trouble(), fullPage: true, ...narrow },
  'calm-narrow': { answers: calm(), fullPage: true, ...narrow },
  empty: { answers: empty() },
  hostile: { answers: hostile(), fullPage: true },
  services: { answers: many(), hash: `${root}/services` },
  'services-narrow': { answers: many(), hash: `${root}/services`, ...narrow },
  instances: { answers: many(), hash: `${root}/instances` },
  'instances-dark': { answers: many(), hash: `${root}/instances`, colorScheme: 'dark' },
  'instances-narrow': { answers: many(), hash: `${root}/instances`, ...narrow },
  change: { answers: calm(), hash: `${root}/changes/41` },
  'change-dark': { answers: calm(), hash: `${root}/changes/41`, colorScheme: 'dark' },
  'change-narrow': { answers: calm(), hash: `${root}/changes/41`, fullPage: true, ...narrow },
  changes: { answers: calm(), hash: `${root}/changes?action=reload` },
}

const wanted = process.argv.slice(2)
const isWanted = (name) => (wanted.length ? wanted.includes(name) || wanted.includes('all') : name.startsWith('status'))

const browser = await launch()
for (const [name, { fullPage, ...options }] of Object.entries(shots).filter(([name]) => isWanted(name))) {
  const page = await open(browser, options)
  await page.locator('main h2').first().waitFor()
  await live(page)
  await page.waitForTimeout(500) // for the charts
  await page.screenshot({ path: join(directory, `${name}.png`), fullPage })
  if (page.faults.length) console.log(name, page.faults)
  await page.context().close()
}
await browser.close()
