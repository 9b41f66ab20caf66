// The plugin's own block of the configuration. Every fault is reported at once, each beside its key.

import { statSync } from 'node:fs';
import { resolve } from 'node:path';

const readers = {
  folder: readFolder,
  keep: readCount,
};

/** Returns the configuration and what is wrong with the block, as a list of { key, problem }. */
export function decode(block) {
  const config = { keep: 5 };
  const faults = [];
  for (const key of Object.keys(block).sort()) {
    if (!Object.hasOwn(readers, key)) {
      faults.push({ key, problem: `is not a known key${suggestion(key)}` });
      continue;
    }
    const { value, problem } = readers[key](block[key]);
    if (problem) faults.push({ key, problem });
    else config[key] = value;
  }
  if (!Object.hasOwn(block, 'folder')) faults.push({ key: 'folder', problem: 'is missing: say where the versions go' });
  return { config, faults };
}

function readFolder(value) {
  if (typeof value !== 'string') return { problem: `must be text, not ${describe(value)}` };
  if (value === '') return { problem: 'is empty: say where the versions go' };
  const folder = resolve(value);
  try {
    const found = statSync(folder, { throwIfNoEntry: false }); // a folder that is not there yet is made when needed
    if (found && !found.isDirectory()) return { problem: `is ${folder}, which is not a folder` };
  } catch (err) {
    return { problem: `is ${folder}, which cannot be looked at: ${err.message}` };
  }
  return { value: folder };
}

// readCount takes text that reads as a number too: that is how it comes from an environment variable.
function readCount(value) {
  const n = typeof value === 'string' && /^[+-]?\d+$/.test(value) ? Number(value) : value;
  if (!Number.isSafeInteger(n)) return { problem: `must be a whole number, not ${describe(value)}` };
  if (n < 1) return { problem: `must be at least 1, not ${n}` };
  return { value: n };
}

function describe(value) {
  if (value === null) return 'nothing';
  if (Array.isArray(value)) return 'a list';
  return typeof value === 'object' ? 'a table' : JSON.stringify(value);
}

// suggestion names the known key that takes the fewest edits, or all of them where none is near.
function suggestion(key) {
  const known = Object.keys(readers);
  const [nearest] = known.map((k) => ({ k, n: edits(key, k) })).sort((a, b) => a.n - b.n);
  return nearest.n <= key.length / 2 ? `; did you mean ${nearest.k}?` : `; known are ${known.join(', ')}`;
}

// edits is the Levenshtein distance.
function edits(a, b) {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next[j] = Math.min(row[j] + 1, next[j - 1] + 1, row[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1));
    }
    row = next;
  }
  return row[b.length];
}
