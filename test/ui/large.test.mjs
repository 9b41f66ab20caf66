// Tests of the status page with a real daemon that has 10,000 instances of one service, and a real HAProxy with their servers.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { control, launch, live, open, waitLimit, traceTasks } from './browser.mjs'

let browser
before(async () => {
  browser = await launch()
})
after(() => browser.close())

test('10,000 instances scroll and search without a long task while pushes come', async (t) => {
  const page = await open(browser, { hash: '#/pipelines/haproxy/instances' })
  await live(page)
  await page.getByText('10,000 instances in 1 service').waitFor(waitLimit)
  await page.locator('td.haproxy .state').first().waitFor(waitLimit)
  const stop = await traceTasks(browser, page)
  for (let i = 0; i < 20; i++) {
    await page.mouse.wheel(0, 3000)
    await page.waitForTimeout(16)
    if (i % 5 === 0) await control('drain', { id: `web-${i + 2}` })
  }
  await page.keyboard.press('End')
  await page.locator('tr[aria-rowindex="10001"] td.service', { hasText: 'web' }).waitFor(waitLimit)
  await page.getByRole('searchbox').pressSequentially('web-9999', { delay: 30 })
  await page.getByText('1 of 10,000 instances').waitFor(waitLimit)
  await page.getByRole('searchbox').fill('')
  await page.getByLabel('Status').selectOption('draining')
  await page.getByText('4 of 10,000 instances').waitFor(waitLimit)
  const [busy, wall] = await stop()
  t.diagnostic(`the longest task needed ${busy} ms, and ended after ${wall} ms`)
  assert.ok(busy > 0 && busy <= 200, `a task needed ${busy} ms`)
  assert.deepEqual(page.faults, [])
  await page.close()
})
