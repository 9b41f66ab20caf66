import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import { decode } from '../src/config.mjs';
import { temporaryDirectory } from './helpers.mjs';

test('decode accepts a valid block', () => {
  assert.deepEqual(decode({ directory: '/srv/x' }), { config: { directory: '/srv/x', keep: 5 }, faults: [] });
  assert.deepEqual(decode({ directory: 'x', keep: 2 }), { config: { directory: resolve('x'), keep: 2 }, faults: [] });
  assert.deepEqual(decode({ directory: '/x', keep: '7' }), { config: { directory: '/x', keep: 7 }, faults: [] });
});

test('decode reports every fault with its key', (t) => {
  const file = join(temporaryDirectory(t), 'file');
  writeFileSync(file, '');
  const cases = [
    [{}, ['directory', 'is missing: set it to the directory of the versions']],
    [{ directory: '' }, ['directory', 'is empty: set it to the directory of the versions']],
    [{ directory: null }, ['directory', 'must be text, not nothing']],
    [{ directory: ['/a'] }, ['directory', 'must be text, not a list']],
    [{ directory: file }, ['directory', `is ${file}, which is not a directory`]],
    [{ directory: '/x', keep: 0 }, ['keep', 'must be at least 1, not 0']],
    [{ directory: '/x', keep: 1.5 }, ['keep', 'must be a whole number, not 1.5']],
    [{ directory: '/x', keep: 'many' }, ['keep', 'must be a whole number, not "many"']],
    [{ directory: '/x', keep: {} }, ['keep', 'must be a whole number, not a table']],
    [JSON.parse('{"directory":"/x","__proto__":1}'), ['__proto__', 'is not a known key; known are directory, keep']],
    [
      { directry: '/x', keeps: 3, tint: 'red', keep: true },
      ['directry', 'is not a known key; did you mean directory?'],
      ['keep', 'must be a whole number, not true'],
      ['keeps', 'is not a known key; did you mean keep?'],
      ['tint', 'is not a known key; known are directory, keep'],
      ['directory', 'is missing: set it to the directory of the versions'],
    ],
  ];
  for (const [block, ...want] of cases) {
    assert.deepEqual(decode(block).faults.map(({ key, problem }) => [key, problem]), want);
  }
});
