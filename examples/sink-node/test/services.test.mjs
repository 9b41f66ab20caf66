import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createServices } from '../src/services.mjs';
import { createLog } from '../src/log.mjs';
import { documentOf, temporaryDirectory } from './helpers.mjs';

test('a cancelled call responds with CODE_CANCELED', async (t) => {
  const services = createServices({ log: createLog({ write() {} }), attached() {}, released() {} });
  const answer = (method, request, cancelled = false) => new Promise((resolve) => {
    const call = { request, on: (event, listener) => cancelled && event === 'cancelled' && listener() };
    method(call, (err, value) => resolve(err ?? value));
  });
  const block = Buffer.from(JSON.stringify({ directory: temporaryDirectory(t) }));
  await answer(services['haproxyapi.plugin.v1.Plugin'].Configure, { name: 'pages', block });
  const { Apply } = services['haproxyapi.plugin.v1.Sink'];
  const { failure } = await answer(Apply, { document: documentOf({ main: 'text' }) }, true);
  assert.deepEqual(failure, { code: 'CODE_CANCELED', message: 'the call was cancelled; the current version stays' });
  const { result } = await answer(Apply, { document: documentOf({ main: 'text' }) });
  assert.equal(result.action, 'ACTION_WRITTEN');
  const applying = answer(Apply, { document: documentOf({ main: 'other' }) });
  await answer(services['haproxyapi.plugin.v1.Sink'].Cancel, {});
  assert.equal((await applying).failure.code, 'CODE_CANCELED');
});
