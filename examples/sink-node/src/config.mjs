// The plugin's configuration block. All faults are reported at once, each with its key.

import { statSync } from 'node:fs';
import { resolve } from 'node:path';

const readers = {
  directory: readDirectory,
  keep: readCount,
};

/** Returns the configuration and the faults of the block, as a list of { key, problem }. */
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
  if (!Object.hasOwn(block, 'directory')) faults.push({ key: 'directory', problem: 'is missing: set it to the directory of the versions' });
  return { config, faults };
}

function readDirectory(value) {
  if (typeof value !== 'string') return { problem: `must be text, not ${describe(value)}` };
  if (value === '') return { problem: 'is empty: set it to the directory of the versions' };
  const directory = resolve(value);
  try {
    const found = statSync(directory, { throwIfNoEntry: false }); // a missing directory is created when it is needed
    if (found && !found.isDirectory()) return { problem: `is ${directory}, which is not a directory` };
  } catch (err) {
    return { problem: `is ${directory}, which cannot be examined: ${err.message}` };
  }
  return { value: directory };
}

// readCount accepts a number as text too, because environment variables are text.
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

// suggestion names the most similar known key, or all known keys if none is similar.
function suggestion(key) {
  const known = Object.keys(readers);
  const [nearest] = known.map((k) => ({ k, n: distance(key, k) })).sort((a, b) => a.n - b.n);
  return nearest.n <= key.length / 2 ? `; did you mean ${nearest.k}?` : `; known are ${known.join(', ')}`;
}

// distance returns the Levenshtein distance.
function distance(a, b) {
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
