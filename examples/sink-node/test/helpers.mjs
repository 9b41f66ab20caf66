import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Returns a directory that is removed after the test. */
export function temporaryDirectory(t) {
  const directory = mkdtempSync(join(tmpdir(), 'sink-node-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/** Returns a document with these files, by name and text. */
export function documentOf(files, digest = 'ab'.repeat(32)) {
  return { digest, files: Object.entries(files).map(([name, text]) => ({ name, content: Buffer.from(text) })) };
}
