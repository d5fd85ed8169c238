/**
 * The folder of something that a test or the demo runs. A lock of the kernel's says whether the process that made it is still there:
 * what one leaves that was killed, the next one removes. (What ran there, and its mounts, died with the process.)
 */
import { closeSync, openSync } from 'node:fs';
import { mkdtemp, readdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pollForLock, tryLock } from '../ostree/posix/file-lock.ts';
import { ensureCacheFolder } from '../tools/setup/cache.ts';
import type { Say } from '../tools/setup/say.ts';
import { removeWithSysroots } from './sysroot.ts';

/** Held for as long as the process lives. */
const LOCK = 'lock';
/** A folder is made, and removed, in seconds. */
const PATIENCE_MS = 300_000;

export interface FolderKind {
  /** How the names of its folders begin; the process's ID follows. */
  readonly prefix: string;
  /** With its article, for people. */
  readonly what: string;
  /** Removes what else there is of the one whose folder this is. */
  readonly removeRest?: (path: string) => Promise<void>;
}

export class ClaimedFolder implements AsyncDisposable {
  readonly path: string;
  readonly #kind: FolderKind;
  readonly #lock: number;
  #removed = false;

  private constructor(path: string, kind: FolderKind, lock: number) {
    this.path = path;
    this.#kind = kind;
    this.#lock = lock;
  }

  /** Removes the folders of this kind whose processes are dead, and makes a new one. */
  static claim(kind: FolderKind, say: Say): Promise<ClaimedFolder> {
    return alone(async () => {
      for (const path of await foldersOf(kind)) await removeUnlessAlive(path, kind, say);
      const path = await mkdtemp(join(tmpdir(), `${kind.prefix}${process.pid}-`));
      const lock = openSync(join(path, LOCK), 'w');
      if (!tryLock(lock, 'exclusive')) throw new Error(`${path} is new, and locked by another process`);
      return new ClaimedFolder(path, kind, lock);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#removed) return;
    this.#removed = true;
    await alone(() => removeAll(this.path, this.#kind));
    closeSync(this.#lock);
  }
}

/** Those of one process, or of all. */
export async function foldersOf({ prefix }: FolderKind, pid?: number): Promise<readonly string[]> {
  const names = await readdir(tmpdir());
  // Not what only begins in the same way.
  const found = names.filter((name) => name.startsWith(prefix) && /^\d+-/.test(name.slice(prefix.length)));
  const wanted = pid === undefined ? found : found.filter((name) => name.startsWith(`${prefix}${pid}-`));
  return wanted.map((name) => join(tmpdir(), name));
}

/** One at a time on this machine: between being made and being locked, and while it is removed, a folder looks like one that was left. */
async function alone<Result>(action: () => Promise<Result>): Promise<Result> {
  const lock = openSync(join(await ensureCacheFolder('locks'), 'claimed-folders'), 'w');
  try {
    const attempt = () => tryLock(lock, 'exclusive') || undefined;
    await pollForLock('The list of folders', { timeoutMs: PATIENCE_MS }, attempt);
    return await action();
  } finally {
    closeSync(lock);
  }
}

async function removeUnlessAlive(path: string, kind: FolderKind, say: Say): Promise<void> {
  const lock = openSync(join(path, LOCK), 'w');
  try {
    if (!tryLock(lock, 'exclusive')) return;
    say(`Removing ${path}, which ${kind.what} has left that was killed.`);
    await removeAll(path, kind);
  } finally {
    closeSync(lock);
  }
}

/** The folder last: it tells of the rest. */
async function removeAll(path: string, { removeRest }: FolderKind): Promise<void> {
  await removeRest?.(path);
  await removeWithSysroots(path);
}
