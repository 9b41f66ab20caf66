// Tests of the status page with a daemon that has a token. PROTECTED says whether reads need it too.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { control, daemonURL, launch, live, open, waitLimit } from './browser.mjs'

const token = process.env.TOKEN
const protectedReads = process.env.PROTECTED === 'true'

let browser
before(async () => {
  browser = await launch()
})
after(() => browser.close())

test('the page needs the token if reads do', { skip: !protectedReads }, async () => {
  const response = await fetch(`${daemonURL}/`)
  assert.equal(response.status, 401)
  assert.match(response.headers.get('www-authenticate'), /Basic/) // the browser asks for it
})

test('a held snapshot is released with the token', async () => {
  // Where reads are protected, the browser has asked for the token and sends it with every request.
  const page = await open(browser, protectedReads ? { httpCredentials: { username: 'x', password: token } } : {})
  await live(page)
  await page.locator('.headline', { hasText: '1 live instance' }).waitFor(waitLimit)
  await control('forget')
  const held = page.locator('.banner', { hasText: 'Snapshot held' })
  await held.waitFor(waitLimit)
  const release = held.getByRole('button', { name: 'Release' })
  await release.click()
  if (!protectedReads) {
    const dialog = page.getByRole('dialog', { name: 'Token needed' })
    await dialog.waitFor(waitLimit)
    await page.keyboard.press('Escape') // cancels
    await dialog.waitFor({ state: 'hidden', ...waitLimit })
    await held.waitFor(waitLimit)

    await release.click()
    await dialog.getByLabel('Token').fill('wrong')
    await dialog.getByRole('button', { name: 'Send' }).click()
    await dialog.getByText('does not accept this token').waitFor(waitLimit)
    await dialog.getByLabel('Token').fill(token)
    await page.keyboard.press('Enter')
    await dialog.waitFor({ state: 'hidden', ...waitLimit })
  }
  await held.waitFor({ state: 'detached', ...waitLimit })
  await page.locator('.headline', { hasText: '0 live instances' }).waitFor(waitLimit)
  assert.equal((await page.content()).includes(token), false)
  assert.deepEqual(await page.evaluate(() => [localStorage.length, document.cookie]), [0, ''])
  assert.deepEqual(page.faults, [])
  await page.close()
})
