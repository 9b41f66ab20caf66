// Tests of the status page with a real daemon and a real HAProxy.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { control, launch, live, open, waitLimit } from './browser.mjs'
import { markup } from './fixtures.mjs'

let browser
before(async () => {
  browser = await launch()
})
after(() => browser.close())

const banner = (page, title) => page.locator('.banner', { has: page.locator('h2', { hasText: title }) })

/** The template of the daemon with another header, which needs a reload. */
const template = (number) => `global
  maxconn 200
defaults
  mode http
  timeout connect 5s
  timeout client 10s
  timeout server 10s
{{ range $name, $instances := .Services }}{{ range $port, $_ := getPorts $name }}
frontend {{ $name }}-{{ $port }}-in
  bind {{ bindIP }}:{{ $port }}
  http-response set-header X-Edit page-${number}
  default_backend {{ $name }}-{{ $port }}
backend {{ $name }}-{{ $port }}
{{ range $instances }}  server {{ serverName . }} {{ ipFor $port . }}:{{ portFor $port . }}
{{ end }}{{ end }}{{ end }}
`

test('a push appears on the page', async (t) => {
  const page = await open(browser)
  await live(page)
  await page.locator('.timeline li').first().waitFor(waitLimit)
  const seen = page.evaluate(
    () =>
      new Promise((resolve) => {
        new MutationObserver((_, observer) => {
          if (!document.querySelector('.timeline')?.textContent.includes('web-2')) return
          observer.disconnect()
          resolve(Date.now())
        }).observe(document.getElementById('main'), { childList: true, subtree: true, characterData: true })
      }),
  )
  const pushed = Date.now()
  await control('add', { service: 'web', id: 'web-2' })
  const took =
    (await Promise.race([
      seen,
      new Promise((_, reject) => setTimeout(reject, waitLimit.timeout, new Error('it does not')).unref()),
    ])) - pushed
  t.diagnostic(`after ${took} ms`)
  await page.locator('.stage', { hasText: 'Source' }).getByText('2 alive').waitFor(waitLimit)
  assert.deepEqual(page.faults, [])
  await page.close()
})

test('a refused template has a banner with its line until a valid one is saved', async () => {
  const page = await open(browser)
  await live(page)
  const good = template(1)
  await control('template', { body: good.replace('  mode http', `  mode {{ nonsense }} ${markup}`) })
  const refused = banner(page, 'Template refused')
  await refused.waitFor(waitLimit)
  assert.match(await refused.textContent(), /line 4/)
  assert.match(await refused.textContent(), /nonsense/)
  assert.ok((await refused.textContent()).includes(markup))
  assert.equal(await page.locator('img').count(), 0)
  assert.match(await page.title(), /Template refused/)
  await control('template', { body: good })
  await refused.waitFor({ state: 'detached', ...waitLimit })
  await page.locator('h1', { hasText: 'In sync' }).waitFor(waitLimit)
  assert.deepEqual(page.faults, [])
  await page.close()
})

test('a change opens with its reason, steps and diff', async () => {
  const page = await open(browser)
  await control('template', { body: template(2) })
  const entry = page
    .locator('.timeline li', { has: page.locator('.badge', { hasText: 'reload' }), hasText: 'haproxy.tmpl' })
    .first()
  await page.locator('.timeline a', { hasText: 'haproxy.tmpl' }).first().waitFor(waitLimit)
  await entry.locator('a').click()
  await page.locator('h2', { hasText: /^Change \d+/ }).waitFor(waitLimit)
  assert.match(page.url(), /#\/pipelines\/haproxy\/changes\/\d+$/)
  await page.locator('.facts', { hasText: 'template saved' }).waitFor(waitLimit)
  await page.locator('.steps tbody tr').first().waitFor(waitLimit)
  const diff = page.locator('.diff table.side-by-side')
  await diff.waitFor(waitLimit)
  await diff.locator('td.added', { hasText: /X-Edit page-\d/ }).waitFor(waitLimit)
  assert.deepEqual(page.faults, [])
  // The address of a change works by itself.
  const link = page.url()
  await page.goto('about:blank')
  await page.goto(link)
  await page.locator('.facts', { hasText: 'template saved' }).waitFor(waitLimit)
  await page.close()
})

test('the instances show what HAProxy says of them', async () => {
  const page = await open(browser, { hash: '#/pipelines/haproxy/instances?q=web-1' })
  const row = page.locator('table.instances tbody tr', { hasText: 'host-web-1' })
  await row.waitFor(waitLimit)
  assert.equal(await row.locator('td.status').textContent(), 'alive')
  await row.locator('td.haproxy .state').waitFor(waitLimit)
  await row.locator('td.instance button').click()
  await page.locator('dialog', { hasText: 'Backend' }).waitFor(waitLimit)
  await page.keyboard.press('Escape')
  await page.locator('dialog').waitFor({ state: 'hidden', ...waitLimit })
  assert.deepEqual(page.faults, [])
  await page.close()
})

test('the page works below a path of a reverse proxy', async () => {
  const page = await open(browser, { url: process.env.PROXY_URL, hash: '#/pipelines/haproxy/instances' })
  await live(page)
  await page.locator('table.instances tbody tr', { hasText: 'host-web-1' }).waitFor(waitLimit)
  assert.deepEqual(page.faults, [])
  await page.close()
})

test('a held snapshot is released by the button', async () => {
  const page = await open(browser)
  await live(page)
  await control('forget')
  const held = banner(page, 'Snapshot held')
  await held.waitFor(waitLimit)
  await held.getByRole('button', { name: 'Release' }).click()
  await held.waitFor({ state: 'detached', ...waitLimit })
  await page.locator('.headline', { hasText: '0 live instances' }).waitFor(waitLimit)
  assert.deepEqual(page.faults, [])
  await page.close()
})
