// Tests of the program as the daemon uses it.

import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import grpc from '@grpc/grpc-js';
import { createCertificate } from '../src/certificate.mjs';
import { definitions } from '../src/server.mjs';
import { documentOf, temporaryDirectory } from './helpers.mjs';

const program = fileURLToPath(new URL('../haproxy-api-sink-node', import.meta.url));
const cookie = '7c0f8a5e6f1d4b0e9b7d2c0a41f6e3d5';

function run(t, env) {
  const child = spawn(program, { env: { PATH: process.env.PATH, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
  t.after(() => child.kill('SIGKILL'));
  const log = [];
  createInterface({ input: child.stderr }).on('line', (line) => log.push(line));
  return { child, log, ended: once(child, 'close') };
}

/** Starts the program as the daemon does and reads its handshake. */
async function start(t, env = {}) {
  const sockets = temporaryDirectory(t);
  const daemon = await createCertificate();
  const started = run(t, {
    HAPROXY_API_PLUGIN: cookie, PLUGIN_PROTOCOL_VERSIONS: '1', PLUGIN_CLIENT_CERT: daemon.cert,
    PLUGIN_UNIX_SOCKET_DIR: sockets, ...env,
  });
  const [line] = await once(createInterface({ input: started.child.stdout }), 'line');
  return { ...started, sockets, daemon, parts: line.split('|') };
}

/** Returns a function that calls the plugin, with the certificate or without one. */
function connect(t, plugin, certificate = plugin.daemon) {
  const [, , , socket, , theirs] = plugin.parts;
  const root = new X509Certificate(Buffer.from(theirs, 'base64')).toString();
  const own = certificate ? [Buffer.from(certificate.key), Buffer.from(certificate.cert)] : [];
  const channel = grpc.credentials.createSsl(Buffer.from(root), ...own);
  const client = new grpc.Client(`unix:${socket}`, channel, {
    'grpc.ssl_target_name_override': 'localhost', 'grpc.default_authority': 'localhost',
  });
  t.after(() => client.close());
  return (service, method, request = {}) => {
    const { path, requestSerialize, responseDeserialize, responseStream } = definitions[service][method];
    if (responseStream) return client.makeServerStreamRequest(path, requestSerialize, responseDeserialize, request);
    return new Promise((resolve, reject) => {
      client.makeUnaryRequest(path, requestSerialize, responseDeserialize, request, (err, answer) => {
        if (err) reject(err);
        else resolve(answer);
      });
    });
  };
}

const PLUGIN = 'haproxyapi.plugin.v1.Plugin';
const SINK = 'haproxyapi.plugin.v1.Sink';
const HEALTH = 'grpc.health.v1.Health';
const configuration = (block) => ({ name: 'pages', block: Buffer.from(JSON.stringify(block)) });

test('a start without the daemon prints an explanation', async (t) => {
  for (const [env, want] of [
    [{}, /^This is a plugin of haproxy-api, which starts it by itself/],
    [{ HAPROXY_API_PLUGIN: 'wrong' }, /^This is a plugin of haproxy-api/],
    [{ HAPROXY_API_PLUGIN: cookie }, /^PLUGIN_CLIENT_CERT is not set/],
  ]) {
    const { log, ended } = run(t, env);
    assert.deepEqual(await ended, [1, null]);
    assert.equal(log.length, 1);
    assert.match(log[0], want);
  }
});

test('the handshake line is complete', async (t) => {
  const { parts, sockets } = await start(t);
  assert.deepEqual([parts[0], parts[1], parts[2], parts[4], parts.length], ['1', '1', 'unix', 'grpc', 6]);
  assert.equal(dirname(parts[3]), sockets);
  assert.doesNotMatch(parts[5], /=/);
  const certificate = new X509Certificate(Buffer.from(parts[5], 'base64'));
  assert.equal(certificate.checkHost('localhost'), 'localhost');
  assert.ok(certificate.verify(certificate.publicKey));
});

test('a daemon of another protocol version gets the version', async (t) => {
  const { parts } = await start(t, { PLUGIN_PROTOCOL_VERSIONS: '2,3' });
  assert.equal(parts[1], '1');
});

test('only the daemon can connect', async (t) => {
  const plugin = await start(t);
  assert.deepEqual(await connect(t, plugin)(HEALTH, 'Check', { service: 'plugin' }), { status: 'SERVING' });
  await assert.rejects(connect(t, plugin)(HEALTH, 'Check', { service: 'other' }), { code: grpc.status.NOT_FOUND });
  for (const stranger of [null, await createCertificate()]) {
    await assert.rejects(connect(t, plugin, stranger)(HEALTH, 'Check'), { code: grpc.status.UNAVAILABLE });
  }
});

test('apply responds with a result or a failure', async (t) => {
  const plugin = await start(t);
  const call = connect(t, plugin);
  const directory = temporaryDirectory(t);
  await assert.rejects(call(SINK, 'Health'), { code: grpc.status.FAILED_PRECONDITION });
  await assert.rejects(call(PLUGIN, 'Configure', { block: Buffer.from('[]') }), { code: grpc.status.INVALID_ARGUMENT });

  const { faults } = await call(PLUGIN, 'Configure', configuration({ directry: directory }));
  assert.deepEqual(faults.map(({ key }) => key), ['directry', 'directory']);
  const answer = await call(PLUGIN, 'Configure', configuration({ directory }));
  assert.deepEqual(answer, { name: 'node', version: '1.0.0', kind: 'KIND_SINK', faults: [], failure: null, capabilities: ['CAPABILITY_CHECK'] });
  await assert.rejects(call(PLUGIN, 'Configure', configuration({ directory })), { code: grpc.status.FAILED_PRECONDITION });

  const { result, failure } = await call(SINK, 'Apply', { document: documentOf({ main: 'text' }) });
  assert.deepEqual([result.action, failure], ['ACTION_WRITTEN', null]);
  assert.ok(result.took.nanos > 0);
  assert.equal(readFileSync(join(directory, 'current', 'main'), 'utf8'), 'text');
  for (const method of ['Apply', 'Check']) {
    const rejected = await call(SINK, method, { document: documentOf({ main: '' }) });
    assert.equal(rejected.failure.code, 'CODE_REJECTED');
    assert.match(rejected.failure.message, /the main file main is empty/);
  }
  assert.equal((await call(SINK, 'Check', { document: documentOf({ main: 'x' }) })).failure, null);
  assert.deepEqual((await call(SINK, 'Health')).problems, []);
  assert.deepEqual(await call(PLUGIN, 'Stop'), {});

  const { time, ...line } = JSON.parse(plugin.log[0]);
  assert.deepEqual(line, { level: 'INFO', msg: 'configured', name: 'pages', directory, keep: 5 });
  assert.ok(Date.parse(time) > 0);
});

test('the plugin ends with the daemon and removes its socket', async (t) => {
  const endings = {
    'Attach ends': ({ attach }) => attach.cancel(),
    'the daemon asks for the end': ({ call }) => call('plugin.GRPCController', 'Shutdown').catch(() => {}),
    'the system asks for the end': ({ child }) => child.kill('SIGTERM'),
  };
  for (const [name, end] of Object.entries(endings)) {
    await t.test(name, async (t) => {
      const plugin = await start(t);
      const call = connect(t, plugin);
      const attach = call(PLUGIN, 'Attach').on('error', () => {});
      await once(attach, 'data');
      plugin.child.kill('SIGINT'); // only the daemon reacts to Ctrl-C
      assert.deepEqual(await call(HEALTH, 'Check', { service: 'plugin' }), { status: 'SERVING' });
      assert.equal(readdirSync(plugin.sockets).length, 1);
      end({ ...plugin, call, attach });
      assert.deepEqual(await plugin.ended, [0, null]);
      assert.deepEqual(readdirSync(plugin.sockets), []);
    });
  }
});
