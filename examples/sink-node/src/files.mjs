// Files and directories, written through to the disk.

import { open, readFile, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';

/** Returns the names in the directory, and none if there is no such directory. */
export async function list(directory) {
  try {
    return await readdir(directory);
  } catch (err) {
    if (err.code === 'ENOENT') return [];
    throw err;
  }
}

/** Writes a new file and waits until it is on disk. An aborted signal may leave a part of the file. */
export async function writeSynced(path, content, signal) {
  const file = await open(path, 'wx');
  try {
    await file.writeFile(content, { signal });
    await file.sync();
  } finally {
    await file.close();
  }
}

/** Waits until the names in the directory are on disk. */
export async function sync(directory) {
  const opened = await open(directory, 'r');
  try {
    await opened.sync();
  } finally {
    await opened.close();
  }
}

/** Reports whether the directory has exactly these files with this content. */
export async function holdsExactly(directory, files) {
  const names = (await list(directory)).sort();
  if (names.join('/') !== files.map(({ name }) => name).sort().join('/')) return false;
  for (const { name, content } of files) {
    const path = join(directory, name);
    const found = await stat(path);
    if (!found.isFile() || found.size !== content.length || !content.equals(await readFile(path))) return false;
  }
  return true;
}
