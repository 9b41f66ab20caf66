// The sink: every document becomes a folder of its own, and a symbolic link says which one is current.
//
//     FOLDER/current -> versions/000042-5f2c81d09ab3
//     FOLDER/versions/000042-5f2c81d09ab3/FILES
//     FOLDER/versions/000041-…                          the last few before it

import { randomBytes } from 'node:crypto';
import { readlink, symlink, mkdir, rename, rm, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { filesOf } from './document.mjs';
import { holdsExactly, list, sync, writeSynced } from './files.mjs';

const VERSION_NAME = /^(\d{6,})(-[0-9a-f]+)?$/;
const TEMPORARY = '.new-';

export class Sink {
  #folder;
  #versions;
  #keep;
  #log;
  #published = null; // the version that this process made current or found to be
  #turn = Promise.resolve(); // settles when the call before is through

  /** Publishes into config.folder, which is made when needed, and keeps config.keep versions there. */
  constructor({ folder, keep }, log) {
    this.#folder = folder;
    this.#versions = join(folder, 'versions');
    this.#keep = keep;
    this.#log = log;
  }

  /** Throws Rejected where apply would. Changes nothing. */
  async check(document) {
    filesOf(document);
    return {};
  }

  /**
   * Makes the document current and says how. When it throws, the one before still is. An aborted signal stops it before
   * the link moves, never after.
   *
   * The daemon may give up on a call and make the next at once, so a call waits until the one before is through.
   */
  apply(document, signal) {
    const result = this.#turn
      .then(() => this.#publish(filesOf(document), document.digest, signal))
      .catch((err) => { throw this.#explained(err); });
    this.#turn = result.catch(() => {});
    return result;
  }

  /** Says what is wrong now, and a few facts for people. */
  async health() {
    const current = await this.#current().catch((err) => err);
    const facts = { folder: this.#folder, node: process.version };
    if (current instanceof Error) return { problems: [current.message], facts };

    facts.current = current ?? 'none';
    facts.versions = String((await this.#history()).length);
    const astray = await this.#astray(current);
    const problems = astray ? [`${this.#folder}/current leads to ${astray}: the next document puts it right`] : [];
    return { problems, facts };
  }

  async #astray(current) {
    if (this.#published && current !== this.#published) {
      return `${current ?? 'nothing'}, not to ${this.#published}, which was published`;
    }
    const there = await stat(join(this.#folder, 'current')).catch(() => null);
    return current && !there ? `${current}, which is gone` : '';
  }

  async #publish(files, digest, signal) {
    signal.throwIfAborted();
    const current = await this.#current();
    if (current && await this.#isCurrent(files)) {
      this.#published = current;
      return { action: 'unchanged', reason: `${current} holds these very files` };
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
    // What cannot be read is as good as different: it is replaced.
    return holdsExactly(join(this.#folder, 'current'), files).catch(() => false);
  }

  // switchTo ends with the one step that everybody sees. Until then an error leaves only what it removes itself.
  async #switchTo(version, files, signal) {
    const staged = join(this.#versions, TEMPORARY + version);
    const final = join(this.#versions, version);
    const link = join(this.#folder, TEMPORARY + randomBytes(4).toString('hex'));
    try {
      await mkdir(staged);
      for (const { name, content } of files) await writeSynced(join(staged, name), content, signal);
      await sync(staged);
      await rename(staged, final);
      await sync(this.#versions);
      await symlink(join('versions', version), link);
      signal.throwIfAborted();
      await rename(link, join(this.#folder, 'current'));
    } catch (err) {
      for (const path of [staged, final, link]) await rm(path, { recursive: true, force: true }).catch(() => {});
      throw err;
    }
    // The switch is visible now: only a power cut could still undo it, and an error would be a lie.
    await sync(this.#folder)
      .catch((err) => this.#log.warn('the switch may not be on disk yet', { error: err.message }));
  }

  #explained(err) {
    if (err.name === 'AbortError') return new Error('the call was cancelled: what was current stays so');
    return err.syscall ? new Error(`cannot publish into ${this.#folder}: ${err.message}`) : err;
  }

  // current returns the name of the version that the link leads to, or null where there is no link.
  async #current() {
    const link = join(this.#folder, 'current');
    try {
      return basename(await readlink(link));
    } catch (err) {
      if (err.code === 'ENOENT') return null;
      if (err.code === 'EINVAL') throw new Error(`${link} is not a symbolic link: move it away`);
      throw err;
    }
  }

  // history returns the versions on disk, the newest first.
  async #history() {
    const names = (await list(this.#versions)).filter((name) => VERSION_NAME.test(name));
    return names.sort((a, b) => number(b) - number(a));
  }

  // nextName counts on from what is on disk: the daemon's own count begins anew when its state is lost.
  async #nextName(digest) {
    const [newest] = await this.#history();
    const count = String((newest ? number(newest) : 0) + 1).padStart(6, '0');
    return /^[0-9a-f]{12,}$/.test(digest) ? `${count}-${digest.slice(0, 12)}` : count;
  }

  // sweep removes what a process that was killed left behind.
  async #sweep() {
    for (const folder of [this.#folder, this.#versions]) {
      for (const name of (await list(folder)).filter((n) => n.startsWith(TEMPORARY))) {
        await rm(join(folder, name), { recursive: true, force: true });
      }
    }
  }

  // prune removes the versions beyond those to keep, and returns sentences about those that it could not remove.
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
