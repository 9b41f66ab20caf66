import assert from 'node:assert/strict';
import {
  existsSync, mkdirSync, readFileSync, readdirSync, readlinkSync, rmSync, symlinkSync, writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { Rejected } from '../src/document.mjs';
import { createLog } from '../src/log.mjs';
import { Sink } from '../src/sink.mjs';
import { documentOf, temporaryDirectory } from './helpers.mjs';

const never = new AbortController().signal;
const quiet = createLog({ write() {} });

function sinkIn(t, keep = 3) {
  const directory = join(temporaryDirectory(t), 'made', 'when needed');
  return { directory, sink: new Sink({ directory, keep }, quiet) };
}

const current = (directory, name = 'main') => readFileSync(join(directory, 'current', name), 'utf8');
const versions = (directory) => readdirSync(join(directory, 'versions')).sort();

test('apply makes a document current', async (t) => {
  const { directory, sink } = sinkIn(t);
  const binary = Buffer.from([0, 255, 10]);
  const document = documentOf({ main: 'one\n', 'routes.map': binary });
  assert.deepEqual(await sink.apply(document, never), { action: 'written', reason: 'it is the first', details: [] });
  assert.equal(current(directory), 'one\n');
  assert.deepEqual(readFileSync(join(directory, 'current', 'routes.map')), binary);
  assert.equal(readlinkSync(join(directory, 'current')), 'versions/000001-abababababab');
  assert.deepEqual(readdirSync(directory).sort(), ['current', 'versions']);
});

test('apply reports the same document as unchanged, after a restart too', async (t) => {
  const { directory, sink } = sinkIn(t);
  await sink.apply(documentOf({ main: 'one', b: 'b' }), never);
  const reason = '000001-abababababab has these files';
  for (const s of [sink, new Sink({ directory, keep: 3 }, quiet)]) {
    assert.deepEqual(await s.apply(documentOf({ main: 'one', b: 'b' }), never), { action: 'unchanged', reason });
  }
  assert.equal(versions(directory).length, 1);
});

test('apply creates a version for any difference', async (t) => {
  const { directory, sink } = sinkIn(t, 100);
  const documents = [
    { main: 'one' }, { main: 'two' }, { main: 'two', b: '' }, { main: 'two', c: '' }, { other: 'two', c: '' },
  ];
  for (const files of documents) assert.equal((await sink.apply(documentOf(files), never)).action, 'written');
  writeFileSync(join(directory, 'current', 'c'), 'by hand');
  const { action, reason } = await sink.apply(documentOf(documents.at(-1)), never);
  assert.deepEqual([action, reason], ['written', 'it differs from 000005-abababababab']);
  assert.equal(versions(directory).length, 6);
});

test('apply keeps the newest versions and files of others', async (t) => {
  const { directory, sink } = sinkIn(t, 2);
  mkdirSync(join(directory, 'versions', 'mine'), { recursive: true });
  mkdirSync(join(directory, 'versions', '.new-left-behind'));
  symlinkSync('nowhere', join(directory, '.new-left-behind'));
  for (let i = 1; i <= 4; i++) await sink.apply(documentOf({ main: `text ${i}` }, ''), never);
  assert.deepEqual(versions(directory), ['000003', '000004', 'mine']);
  assert.deepEqual(readdirSync(directory).sort(), ['current', 'versions']);
  assert.equal(current(directory), 'text 4');
});

test('apply and check reject unusable documents', async (t) => {
  const { directory, sink } = sinkIn(t);
  await sink.apply(documentOf({ main: 'good' }), never);
  const cases = [
    [{}, 'the document has no file'],
    [{ main: '' }, 'the main file main is empty'],
    [{ main: ' \n\t\r\n' }, 'the main file main is empty'],
    [{ main: 'x', '../evil': '' }, 'the file name "../evil" cannot be used'],
    [{ '/etc/passwd': 'x' }, 'the file name "/etc/passwd" cannot be used'],
    [{ '..': 'x' }, 'the file name ".." cannot be used'],
    [{ '.hidden': 'x' }, 'the file name ".hidden" cannot be used'],
    [{ 'a\0b': 'x' }, 'the file name "a\\u0000b" cannot be used'],
    [{ '': 'x' }, 'the file name "" cannot be used'],
  ];
  const is = (want) => (err) => err instanceof Rejected && err.message.startsWith(want);
  for (const [files, want] of cases) {
    await assert.rejects(sink.apply(documentOf(files), never), is(want));
    await assert.rejects(sink.check(documentOf(files)), is(want));
  }
  const file = { name: 'twice', content: Buffer.from('x') };
  await assert.rejects(sink.apply({ files: [file, file] }, never), is('the file name "twice" cannot be used'));
  await assert.rejects(sink.apply(null, never), is('the document has no file'));
  assert.equal(versions(directory).length, 1);
  assert.equal(current(directory), 'good');
});

test('check accepts a document and changes nothing', async (t) => {
  const { directory, sink } = sinkIn(t);
  assert.deepEqual(await sink.check(documentOf({ main: 'x' })), {});
  assert.equal(existsSync(directory), false);
});

test('a cancelled apply leaves the current version and no other files', async (t) => {
  const { directory, sink } = sinkIn(t);
  await sink.apply(documentOf({ main: 'old' }), never);
  const giveUp = new AbortController();
  const document = documentOf({ main: 'new', companion: 'x' });
  // The call is cancelled between the first file and the second.
  Object.defineProperty(document.files[1], 'content', { get: () => { giveUp.abort(); return Buffer.from('x'); } });
  const message = 'the call was cancelled; the current version stays';
  await assert.rejects(sink.apply(document, giveUp.signal), { message });
  await assert.rejects(sink.apply(documentOf({ main: 'new' }), AbortSignal.abort()), /was cancelled/);
  assert.equal(current(directory), 'old');
  assert.deepEqual(versions(directory), ['000001-abababababab']);
});

test('overlapping calls run one after the other', async (t) => {
  const { directory, sink } = sinkIn(t);
  const calls = ['1', '', '2', '3'].map((main) => sink.apply(documentOf({ main }), never));
  const outcomes = (await Promise.allSettled(calls)).map(({ status }) => status);
  assert.deepEqual(outcomes, ['fulfilled', 'rejected', 'fulfilled', 'fulfilled']);
  assert.equal(current(directory), '3');
  assert.equal(versions(directory).length, 3);
});

test('an unusable directory is a failure and not a rejection', async (t) => {
  const { directory, sink } = sinkIn(t);
  mkdirSync(join(directory, 'current'), { recursive: true });
  const message = `${directory}/current is not a symbolic link: move it away`;
  const isFailure = (err) => !(err instanceof Rejected) && err.message === message;
  await assert.rejects(sink.apply(documentOf({ main: 'x' }), never), isFailure);
  assert.deepEqual((await sink.health()).problems, [message]);

  rmSync(directory, { recursive: true });
  writeFileSync(directory, '');
  await assert.rejects(sink.apply(documentOf({ main: 'x' }), never), { message: /^cannot publish to .*: ENOTDIR/ });
});

test('apply corrects a wrong link', async (t) => {
  const { directory, sink } = sinkIn(t);
  for (const target of ['versions', 'nowhere', '/dev/null']) {
    await sink.apply(documentOf({ main: target }), never);
    rmSync(join(directory, 'current'));
    symlinkSync(target, join(directory, 'current'));
    assert.equal((await sink.apply(documentOf({ main: target }), never)).action, 'written');
    assert.equal(current(directory), target);
  }
});

test('health reports problems and facts', async (t) => {
  const { directory, sink } = sinkIn(t);
  const facts = { directory, node: process.version, current: 'none', versions: '0' };
  assert.deepEqual(await sink.health(), { problems: [], facts });

  await sink.apply(documentOf({ main: '1' }, ''), never);
  await sink.apply(documentOf({ main: '2' }, ''), never);
  assert.deepEqual(await sink.health(), { problems: [], facts: { ...facts, current: '000002', versions: '2' } });

  rmSync(join(directory, 'current'));
  symlinkSync('versions/000001', join(directory, 'current'));
  assert.match((await sink.health()).problems[0], /current points to 000001, not to 000002, which was published/);

  rmSync(join(directory, 'current'));
  assert.match((await sink.health()).problems[0], /current points to nothing, not to 000002, which was published/);

  symlinkSync('versions/000002', join(directory, 'current'));
  assert.deepEqual((await sink.health()).problems, []);
  rmSync(join(directory, 'versions', '000002'), { recursive: true });
  assert.match((await sink.health()).problems[0], /current points to 000002, which is gone/);
});
