// Writes screenshots of the status page in all its states into the folder SCREENSHOTS.
import { join } from 'node:path'
import { launch, open } from './browser.mjs'
import { calm, empty, hostile, instances, trouble } from './fixtures.mjs'

const folder = process.env.SCREENSHOTS
const narrow = { viewport: { width: 360, height: 740 }, deviceScaleFactor: 2 }
const many = () => calm({ list: instances(10000) })
const shots = {
  'status-light': { answers: calm() },
  'status-dark': { answers: trouble(), colorScheme: 'dark', fullPage: true },
  'status-narrow': { answers: trouble(), ...narrow },
  'trouble-light': { answers: trouble(), fullPage: true },
  'calm-dark': { answers: calm(), colorScheme: 'dark' },
  'calm-narrow': { answers: calm(), ...narrow, fullPage: true },
  'empty': { answers: empty() },
  'hostile': { answers: hostile(), fullPage: true },
  'instances': { answers: many(), hash: '#/pipelines/haproxy/instances' },
  'instances-narrow': { answers: many(), hash: '#/pipelines/haproxy/instances', ...narrow },
  'change': { answers: calm(), hash: '#/pipelines/haproxy/changes/41' },
  'change-dark': { answers: calm(), hash: '#/pipelines/haproxy/changes/41', colorScheme: 'dark' },
  'change-narrow': { answers: calm(), hash: '#/pipelines/haproxy/changes/41', ...narrow, fullPage: true },
  'changes': { answers: calm(), hash: '#/pipelines/haproxy/changes?action=reload' },
}

const wanted = process.argv.slice(2)
const browser = await launch()
for (const [name, { fullPage, ...options }] of Object.entries(shots)) {
  if (wanted.length && !wanted.includes(name)) continue
  const page = await open(browser, options)
  await page.locator('main h2').first().waitFor()
  await page.waitForTimeout(400) // charts and the stream of events
  await page.screenshot({ path: join(folder, `${name}.png`), fullPage })
  if (page.faults.length) console.log(name, page.faults)
  await page.context().close()
}
await browser.close()
