// Files and folders, with nothing left in the system's buffers.

import { open, readFile, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';

/** Returns the names in the folder, none where there is no such folder. */
export async function list(folder) {
  try {
    return await readdir(folder);
  } catch (err) {
    if (err.code === 'ENOENT') return [];
    throw err;
  }
}

/** Writes a new file and waits until it is on disk. An aborted signal leaves a part of it. */
export async function writeSynced(path, content, signal) {
  const file = await open(path, 'wx');
  try {
    await file.writeFile(content, { signal });
    await file.sync();
  } finally {
    await file.close();
  }
}

/** Waits until the names in the folder are on disk. */
export async function sync(folder) {
  const opened = await open(folder, 'r');
  try {
    await opened.sync();
  } finally {
    await opened.close();
  }
}

/** Says whether the folder holds these files, byte by byte, and nothing else. */
export async function holdsExactly(folder, files) {
  const names = (await list(folder)).sort();
  if (names.join('/') !== files.map(({ name }) => name).sort().join('/')) return false;
  for (const { name, content } of files) {
    const path = join(folder, name);
    const found = await stat(path);
    if (!found.isFile() || found.size !== content.length || !content.equals(await readFile(path))) return false;
  }
  return true;
}
