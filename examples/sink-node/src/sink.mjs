// The sink: each document is a directory of its own, and a symbolic link points to the current one.
//
//     DIRECTORY/current -> versions/000042-5f2c81d09ab3
//     DIRECTORY/versions/000042-5f2c81d09ab3/FILES
//     DIRECTORY/versions/000041-…                          the previous ones

import { randomBytes } from 'node:crypto';
import { readlink, symlink, mkdir, rename, rm, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { filesOf } from './document.mjs';
import { holdsExactly, list, sync, writeSynced } from './files.mjs';

const VERSION_NAME = /^(\d{6,})(-[0-9a-f]+)?$/;
const TEMPORARY = '.new-';

export class Sink {
  #directory;
  #versions;
  #keep;
  #log;
  #published = null; // the current version, as far as this process knows
  #previous = Promise.resolve(); // resolved when the previous call has ended

  /** Publishes to config.directory, which it creates if necessary, and keeps config.keep versions there. */
  constructor({ directory, keep }, log) {
    this.#directory = directory;
    this.#versions = join(directory, 'versions');
    this.#keep = keep;
    this.#log = log;
  }

  /** Throws Rejected if apply would. Changes nothing. */
  async check(document) {
    filesOf(document);
    return {};
  }

  /**
   * Makes the document current and returns the result. If it throws, the previous document still is current. An aborted signal stops
   * it only before the link is replaced.
   *
   * The daemon may cancel a call and make the next one at once, so a call waits for the end of the previous one.
   */
  apply(document, signal) {
    const result = this.#previous
      .then(() => this.#publish(filesOf(document), document.digest, signal))
      .catch((err) => { throw this.#describe(err); });
    this.#previous = result.catch(() => {});
    return result;
  }

  /** Returns the present problems and some facts. */
  async health() {
    const current = await this.#current().catch((err) => err);
    const facts = { directory: this.#directory, node: process.version };
    if (current instanceof Error) return { problems: [current.message], facts };

    facts.current = current ?? 'none';
    facts.versions = String((await this.#history()).length);
    const target = await this.#wrongTarget(current);
    const problems = target ? [`${this.#directory}/current points to ${target}: the next document corrects that`] : [];
    return { problems, facts };
  }

  async #wrongTarget(current) {
    if (this.#published && current !== this.#published) {
      return `${current ?? 'nothing'}, not to ${this.#published}, which was published`;
    }
    const there = await stat(join(this.#directory, 'current')).catch(() => null);
    return current && !there ? `${current}, which is gone` : '';
  }

  async #publish(files, digest, signal) {
    signal.throwIfAborted();
    const current = await this.#current();
    if (current && await this.#isCurrent(files)) {
      this.#published = current;
      return { action: 'unchanged', reason: `${current} has these files` };
    }
    await mkdir(this.#versions, { recursive: true });
    await this.#sweep();
    const version = await this.#nextName(digest);
    await this.#switchTo(version, files, signal);
    this.#published = version;
    this.#log.info('published', { version, files: files.length });
    const reason = current ? `it differs from ${current}` : 'it is the first';
    return { action: 'written', reason, details: await this.#prune() };
  }

  #isCurrent(files) {
    // Files that cannot be read are replaced.
    return holdsExactly(join(this.#directory, 'current'), files).catch(() => false);
  }

  // switchTo ends with the rename that makes the version current. After an error before that, it removes its files.
  async #switchTo(version, files, signal) {
    const staged = join(this.#versions, TEMPORARY + version);
    const final = join(this.#versions, version);
    const link = join(this.#directory, TEMPORARY + randomBytes(4).toString('hex'));
    try {
      await mkdir(staged);
      for (const { name, content } of files) await writeSynced(join(staged, name), content, signal);
      await sync(staged);
      await rename(staged, final);
      await sync(this.#versions);
      await symlink(join('versions', version), link);
      signal.throwIfAborted();
      await rename(link, join(this.#directory, 'current'));
    } catch (err) {
      for (const path of [staged, final, link]) await rm(path, { recursive: true, force: true }).catch(() => {});
      throw err;
    }
    // The version is current now, so a failed sync is not an error of the document: only a power failure could revert the switch.
    await sync(this.#directory)
      .catch((err) => this.#log.warn('the new version may not be on disk yet', { error: err.message }));
  }

  #describe(err) {
    if (err.name === 'AbortError') return new Error('the call was cancelled; the current version stays');
    return err.syscall ? new Error(`cannot publish to ${this.#directory}: ${err.message}`) : err;
  }

  // current returns the name of the version that the link points to, and null if there is no link.
  async #current() {
    const link = join(this.#directory, 'current');
    try {
      return basename(await readlink(link));
    } catch (err) {
      if (err.code === 'ENOENT') return null;
      if (err.code === 'EINVAL') throw new Error(`${link} is not a symbolic link: move it away`);
      throw err;
    }
  }

  // history returns the versions on disk, newest first.
  async #history() {
    const names = (await list(this.#versions)).filter((name) => VERSION_NAME.test(name));
    return names.sort((a, b) => number(b) - number(a));
  }

  // nextName continues the numbers on disk, because the daemon's generation starts at 1 when its state is lost.
  async #nextName(digest) {
    const [newest] = await this.#history();
    const count = String((newest ? number(newest) : 0) + 1).padStart(6, '0');
    return /^[0-9a-f]{12,}$/.test(digest) ? `${count}-${digest.slice(0, 12)}` : count;
  }

  // sweep removes temporary files of a process that was killed.
  async #sweep() {
    for (const directory of [this.#directory, this.#versions]) {
      for (const name of (await list(directory)).filter((n) => n.startsWith(TEMPORARY))) {
        await rm(join(directory, name), { recursive: true, force: true });
      }
    }
  }

  // prune removes the oldest versions, and returns a message for each that it cannot remove.
  async #prune() {
    const problems = [];
    for (const name of (await this.#history()).slice(this.#keep)) {
      await rm(join(this.#versions, name), { recursive: true, force: true })
        .catch((err) => problems.push(`the old version ${name} cannot be removed: ${err.message}`));
    }
    return problems;
  }
}

function number(version) {
  return Number(VERSION_NAME.exec(version)[1]);
}
