import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import { decode } from '../src/config.mjs';
import { temporaryFolder } from './helpers.mjs';

test('decode accepts a valid block', () => {
  assert.deepEqual(decode({ folder: '/srv/x' }), { config: { folder: '/srv/x', keep: 5 }, faults: [] });
  assert.deepEqual(decode({ folder: 'x', keep: 2 }), { config: { folder: resolve('x'), keep: 2 }, faults: [] });
  assert.deepEqual(decode({ folder: '/x', keep: '7' }), { config: { folder: '/x', keep: 7 }, faults: [] });
});

test('decode reports every fault with its key', (t) => {
  const file = join(temporaryFolder(t), 'file');
  writeFileSync(file, '');
  const cases = [
    [{}, ['folder', 'is missing: set it to the directory of the versions']],
    [{ folder: '' }, ['folder', 'is empty: set it to the directory of the versions']],
    [{ folder: null }, ['folder', 'must be text, not nothing']],
    [{ folder: ['/a'] }, ['folder', 'must be text, not a list']],
    [{ folder: file }, ['folder', `is ${file}, which is not a directory`]],
    [{ folder: '/x', keep: 0 }, ['keep', 'must be at least 1, not 0']],
    [{ folder: '/x', keep: 1.5 }, ['keep', 'must be a whole number, not 1.5']],
    [{ folder: '/x', keep: 'many' }, ['keep', 'must be a whole number, not "many"']],
    [{ folder: '/x', keep: {} }, ['keep', 'must be a whole number, not a table']],
    [JSON.parse('{"folder":"/x","__proto__":1}'), ['__proto__', 'is not a known key; known are folder, keep']],
    [
      { foldr: '/x', keeps: 3, tint: 'red', keep: true },
      ['foldr', 'is not a known key; did you mean folder?'],
      ['keep', 'must be a whole number, not true'],
      ['keeps', 'is not a known key; did you mean keep?'],
      ['tint', 'is not a known key; known are folder, keep'],
      ['folder', 'is missing: set it to the directory of the versions'],
    ],
  ];
  for (const [block, ...want] of cases) {
    assert.deepEqual(decode(block).faults.map(({ key, problem }) => [key, problem]), want);
  }
});
