// Tests of the status page with answers of fixtures.mjs. The page itself, its headers and the stream of events are the daemon's.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { after, before, test } from 'node:test'
import { daemonURL, launch, live, open, waitLimit, traceTasks } from './browser.mjs'
import { calm, empty, hostile, instances, markup, trouble } from './fixtures.mjs'

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')

let browser
before(async () => {
  browser = await launch()
})
after(() => browser.close())

const root = '#/pipelines/haproxy'
const views = {
  overview: root,
  services: `${root}/services`,
  instances: `${root}/instances`,
  changes: `${root}/changes`,
  change: `${root}/changes/41`,
}

const titles = { services: 'Services', instances: 'Instances', changes: 'Changes', change: 'Change 4' }

/** Waits until a view is shown, with all that it fetches. */
async function drawn(page, name = 'overview') {
  await page
    .locator('main h2', { hasText: titles[name] ?? 'Pipeline' })
    .first()
    .waitFor(waitLimit)
  await page.waitForLoadState('networkidle').catch(() => {}) // the stream of events can keep it busy
}

/** Goes to another view of the same page. */
async function go(page, hash, name) {
  await page.evaluate((to) => {
    location.hash = to
  }, hash)
  await drawn(page, name)
}

for (const colorScheme of ['light', 'dark']) {
  for (const [situation, answers] of Object.entries({ trouble, calm, empty })) {
    test(`axe finds no serious fault: ${situation}, ${colorScheme}`, async () => {
      const page = await open(browser, { answers: answers(), colorScheme })
      await drawn(page)
      await page.evaluate(axe)
      for (const [name, hash] of Object.entries(views)) {
        if (situation === 'empty' && name === 'change') continue
        await go(page, hash, name)
        const { violations } = await page.evaluate(() => window.axe.run(document))
        const serious = violations.filter(({ impact }) => impact === 'serious' || impact === 'critical')
        assert.deepEqual(
          serious.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html + node.failureSummary).join('\n')}`),
          [],
          name,
        )
      }
      await page.context().close()
    })
  }
}

test('the dialogs have no serious fault', async () => {
  const page = await open(browser, { answers: calm(), hash: views.instances })
  await page.locator('td.instance button').first().click()
  await page.locator('dialog[open]').waitFor(waitLimit)
  await page.evaluate(axe)
  const { violations } = await page.evaluate(() => window.axe.run('dialog'))
  assert.deepEqual(
    violations.filter(({ impact }) => impact === 'serious' || impact === 'critical').map(({ id }) => id),
    [],
  )
  await page.context().close()
})

test('names and errors that look like HTML are text', async () => {
  const answers = hostile()
  const name = encodeURIComponent(answers.status.pipelines[0].name)
  const page = await open(browser, { answers })
  for (const [view, hash] of Object.entries(views)) {
    await go(page, hash.replace('/haproxy', `/${name}`), view)
    await page.locator('main', { hasText: markup }).waitFor(waitLimit)
    if (view === 'change') await page.locator('.diff code', { hasText: markup }).first().waitFor(waitLimit)
    assert.equal(await page.locator('img').count(), 0, view)
    assert.doesNotMatch(await page.title(), /^broken in/)
  }
  assert.deepEqual(page.faults, [])
  await page.context().close()
})

test('nothing is loaded from elsewhere', async () => {
  const page = await open(browser, { answers: trouble() })
  await live(page)
  for (const [view, hash] of Object.entries(views)) await go(page, hash, view)
  assert.deepEqual(page.faults, [])
  await page.context().close()
})

test('a narrow screen does not scroll sideways', async () => {
  for (const answers of [trouble(), calm(), hostile()]) {
    const name = encodeURIComponent(answers.status.pipelines[0].name)
    const page = await open(browser, { answers, viewport: { width: 360, height: 740 } })
    await live(page)
    for (const [view, hash] of Object.entries({ ...views, change47: `${root}/changes/47` })) {
      await go(page, hash.replace('/haproxy', `/${name}`), view === 'change47' ? 'change' : view)
      assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), 360, view)
    }
    await page.context().close()
  }
})

test('10,000 instances scroll and search without a long task', async (t) => {
  const page = await open(browser, { answers: calm({ list: instances(10000) }), hash: views.instances })
  await page.locator('td.service', { hasText: 'service-000' }).first().waitFor(waitLimit)
  const stop = await traceTasks(browser, page)
  for (let i = 0; i < 30; i++) {
    await page.mouse.wheel(0, 3000)
    await page.waitForTimeout(16)
  }
  await page.keyboard.press('End')
  await page.locator('td.service', { hasText: 'service-249' }).first().waitFor(waitLimit)
  assert.ok((await page.locator('table.instances tr').count()) < 100, 'all rows are in the document')
  assert.equal(await page.locator('table.instances').getAttribute('aria-rowcount'), '10001')
  await page.getByRole('searchbox').pressSequentially('service-123', { delay: 30 })
  await page.getByText('40 of 10,000 instances').waitFor(waitLimit)
  await page.locator('td.service', { hasText: 'service-123' }).first().waitFor(waitLimit)
  assert.equal(await page.locator('td.service', { hasText: 'service-249' }).count(), 0)
  assert.match(page.url(), /q=service-123$/)
  await page.getByLabel('Status').selectOption('unhealthy')
  await page.getByText('4 of 10,000 instances').waitFor(waitLimit)
  const [busy, wall] = await stop()
  t.diagnostic(`the longest task needed ${busy} ms, and ended after ${wall} ms`)
  assert.ok(busy > 0 && busy <= 200, `a task needed ${busy} ms`)
  assert.deepEqual(page.faults, [])
  await page.context().close()
})

test('the timeline is filtered by action', async () => {
  const page = await open(browser, { answers: calm(), hash: views.changes })
  await page.locator('.timeline li').nth(5).waitFor(waitLimit)
  await page.getByRole('link', { name: 'Reload', exact: true }).click()
  await page
    .locator('.timeline li')
    .nth(1)
    .waitFor({ state: 'detached', ...waitLimit })
  assert.deepEqual(await page.locator('.timeline .badge').allTextContents(), ['reload'])
  assert.match(page.url(), /action=reload$/)
  await page.context().close()
})

test('every problem says what to do', async () => {
  const page = await open(browser, { answers: trouble() })
  await page.locator('.banner').first().waitFor(waitLimit)
  const titles = await page.locator('.banner h2').allTextContents()
  for (const title of [
    'Configuration file refused',
    'Template refused',
    'Snapshot held',
    'exclusion',
    '14 instances quarantined',
    'HAProxy is not running',
  ]) {
    assert.ok(
      titles.some((text) => text.includes(title)),
      `${title} is not among ${titles}`,
    )
  }
  for (const advice of await page.locator('.banner .advice').allTextContents()) assert.notEqual(advice, '')
  assert.equal(await page.getByRole('button', { name: 'Release' }).count(), 1)
  await page.context().close()
})

test('a HAProxy that runs is not said to be down', async () => {
  const answers = trouble()
  answers.status.pipelines.find((p) => p.name === 'batch').facts.haproxy_up = '1'
  const page = await open(browser, { answers })
  await page.locator('.banner h2', { hasText: 'batch: HAProxy ended several times' }).waitFor(waitLimit)
  assert.equal(await page.locator('.banner h2', { hasText: 'HAProxy is not running' }).count(), 0)
  await page.context().close()
})

test('a template that is tried again is not said to be refused', async () => {
  const answers = trouble()
  const pipeline = answers.status.pipelines.find((p) => p.template_error)
  for (const reason of pipeline.reasons) if (reason.kind === 'template') reason.kind = 'not_applied'
  const page = await open(browser, { answers })
  await page.getByText('not applied yet', { exact: true }).waitFor(waitLimit)
  await page.context().close()
})

test('an apply is requested by the button', async () => {
  const page = await open(browser, { answers: trouble() })
  const methods = []
  await page.route('**/pipelines/batch/apply', (route) => {
    methods.push(route.request().method())
    return route.fulfill({ status: 202, json: { message: 'apply requested' } })
  })
  const banner = page.locator('.banner', { hasText: 'batch: HAProxy is not running' })
  await banner.getByRole('button', { name: 'Apply now' }).click()
  await banner.getByText('apply requested').waitFor(waitLimit)
  assert.deepEqual(methods, ['POST'])
  await page.context().close()
})

test('a refused request is shown', async () => {
  const page = await open(browser, { answers: trouble() })
  const message = 'changes are not allowed from this address: it is not in haproxy_api.allow_from'
  await page.route('**/release', (route) => route.fulfill({ status: 403, json: { errors: [message] } }))
  await page.getByRole('button', { name: 'Release' }).click()
  await page.locator('.banner', { hasText: message }).waitFor(waitLimit)
  await page.context().close()
})

test('a lost connection is shown, and everything is fetched again after a reset', async () => {
  const page = await open(browser, { answers: calm() })
  await live(page)
  await page.context().close()

  const lost = await open(browser, { answers: calm(), url: daemonURL })
  await lost.route('**/api/v1/events', (route) => route.abort())
  await lost.reload()
  await lost.locator('.connection', { hasText: 'connection lost' }).waitFor(waitLimit)
  await lost.unroute('**/api/v1/events')
  await live(lost)

  let fetched = 0
  lost.on('request', (request) => {
    if (request.url().endsWith('/api/v1/status')) fetched++
  })
  await lost.route('**/api/v1/events', (route) =>
    route.fulfill({ contentType: 'text/event-stream', body: 'retry: 600000\n\nevent: reset\ndata: {}\n\n' }),
  )
  await lost.reload()
  await drawn(lost)
  for (const end = Date.now() + waitLimit.timeout; fetched < 3;) {
    assert.ok(Date.now() < end, `fetched ${fetched} times: at the start, when the stream opened, and after the reset`)
    await lost.waitForTimeout(20)
  }
  await lost.context().close()
})

test('the view of a removed pipeline ends', async () => {
  const answers = trouble()
  const page = await open(browser, { answers, hash: '#/pipelines/batch/changes' })
  await page.locator('.timeline li').first().waitFor(waitLimit)
  answers.status.pipelines.pop()
  await page.evaluate(() => document.dispatchEvent(new Event('visibilitychange'))) // fetches everything again
  await page.locator('main', { hasText: 'There is no pipeline batch.' }).waitFor(waitLimit)
  assert.equal(await page.locator('.timeline').count(), 0)
  await page.getByRole('link', { name: 'Show the first one' }).click()
  await page.locator('main h2', { hasText: 'Pipeline' }).waitFor(waitLimit)
  await page.locator('.timeline li').first().waitFor(waitLimit)
  assert.deepEqual(page.faults, [])
  await page.context().close()
})

test('a request that the daemon refuses is no lost connection', async () => {
  const page = await open(browser, { answers: calm() })
  await page.locator('h1', { hasText: 'In sync' }).waitFor(waitLimit)
  await page.route('**/api/v1/status', (route) => route.fulfill({ status: 401, json: { errors: ['reading needs the token'] } }))
  await page.evaluate(() => document.dispatchEvent(new Event('visibilitychange')))
  await page.locator('h1', { hasText: 'The daemon refuses the request' }).waitFor(waitLimit)
  await page.locator('header', { hasText: 'reading needs the token' }).waitFor(waitLimit)
  await page.context().close()
})

test('instances that cannot be fetched are not asked for all the time', async () => {
  const page = await open(browser, { answers: calm({ list: instances(10000) }), hash: views.instances })
  await page.locator('td.service', { hasText: 'service-000' }).first().waitFor(waitLimit)
  let asked = 0
  await page.route('**/instances?**', (route) => {
    asked++
    return route.abort()
  })
  await page.keyboard.press('End')
  await page.locator('main .failure', { hasText: 'no connection' }).waitFor(waitLimit)
  const before = asked
  await page.evaluate(
    () =>
      new Promise((resolve) => {
        let frames = 0
        const next = () => (++frames < 30 ? requestAnimationFrame(next) : resolve())
        next()
      }),
  )
  assert.ok(asked - before < 10, `asked ${asked - before} times within 30 frames`)
  await page.unroute('**/instances?**')
  await page.locator('td.service', { hasText: 'service-249' }).first().waitFor(waitLimit)
  await page.context().close()
})

test('the newest change has no later one', async () => {
  const page = await open(browser, { answers: calm(), hash: `${root}/changes/46` })
  await page.getByRole('link', { name: 'Later' }).click()
  await page.locator('h2', { hasText: 'Change 47' }).waitFor(waitLimit)
  await page.locator('.facts').waitFor(waitLimit)
  assert.equal(await page.getByRole('link', { name: 'Later' }).count(), 0)
  await page.context().close()
})

test('the keyboard reaches everything', async () => {
  const page = await open(browser, { answers: trouble() })
  await page.locator('.banner').first().waitFor(waitLimit)
  await page.keyboard.press('Tab')
  assert.equal(await page.evaluate(() => document.activeElement.textContent), 'Skip to the content')
  await page.keyboard.press('Enter')
  assert.equal(await page.evaluate(() => document.activeElement.id), 'main')
  const release = page.getByRole('button', { name: 'Release' })
  for (let i = 0; i < 30 && !(await release.evaluate((node) => node === document.activeElement)); i++)
    await page.keyboard.press('Tab')
  assert.ok(await release.evaluate((node) => node === document.activeElement))
  const outline = await release.evaluate((node) => getComputedStyle(node).outlineStyle)
  assert.notEqual(outline, 'none')
  // A new view has the focus.
  await page.getByRole('link', { name: 'Instances', exact: true }).click()
  await page.locator('table.instances').waitFor(waitLimit)
  assert.equal(await page.evaluate(() => document.activeElement.id), 'main')
  await page.context().close()
})

test('what has the focus keeps it while the page changes', async () => {
  const answers = trouble()
  const page = await open(browser, { answers })
  const release = page.getByRole('button', { name: 'Release' })
  await release.focus()
  answers.status.pipelines[0].reasons.find(({ kind }) => kind === 'held').message = 'the last instance is gone'
  await page.evaluate(() => document.dispatchEvent(new Event('visibilitychange'))) // fetches everything again
  await page.getByText('the last instance is gone').first().waitFor(waitLimit)
  assert.ok(await release.evaluate((node) => node === document.activeElement))
  await page.context().close()
})

test('a daemon without a snapshot shows an empty page', async () => {
  const page = await open(browser, { answers: empty() })
  await page.getByText('No change yet.').waitFor(waitLimit)
  await page.locator('h1', { hasText: 'Nothing applied yet' }).waitFor(waitLimit)
  const banner = page.locator('.banner')
  assert.equal(await banner.count(), 1) // its reasons are of one kind
  assert.match(await banner.textContent(), /HAProxy is not running.*no document has been applied yet.*first snapshot/)
  assert.equal(await banner.getByRole('button').count(), 0)
  assert.deepEqual(page.faults, [])
  await page.context().close()
})
