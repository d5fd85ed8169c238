/**
 * The folder of a lab, and the names of its cgroups. A lock of the kernel's says whether the lab is still there: what one leaves that
 * was killed, the next one removes. (Processes, mounts and networks of a lab die with it.)
 */
import { closeSync, openSync } from 'node:fs';
import { mkdtemp, readdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { pollForLock, tryLock } from '../../ostree/posix/file-lock.ts';
import { ensureCacheFolder } from '../../tools/setup/cache.ts';
import type { Say } from '../../tools/setup/say.ts';
import { removeWithSysroots } from '../sysroot.ts';
import { cgroupsThatBeginWith, removeCgroups } from './cgroups.ts';

const PREFIX = 'treeline-lab-';
/** Held for as long as the lab lives. */
const LOCK = 'lock';
/** A folder is made, and removed, in seconds. */
const PATIENCE_MS = 300_000;

export class LabFolder implements AsyncDisposable {
  readonly path: string;
  readonly #lock: number;

  private constructor(path: string, lock: number) {
    this.path = path;
    this.#lock = lock;
  }

  /** Removes what labs have left that were killed, and makes the folder of a new one. */
  static claim(say: Say): Promise<LabFolder> {
    return alone(async () => {
      for (const path of await labFolders(PREFIX)) await removeUnlessAlive(path, say);
      const path = await mkdtemp(join(tmpdir(), `${PREFIX}${process.pid}-`));
      const lock = openSync(join(path, LOCK), 'w');
      if (!tryLock(lock, 'exclusive')) throw new Error(`${path} is new, and locked by another process`);
      return new LabFolder(path, lock);
    });
  }

  /** The directory in each hierarchy of cgroups that a node has. */
  cgroup(node: string): string {
    return `${basename(this.path)}-${node}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await alone(() => removeAll(this.path));
    closeSync(this.#lock);
  }
}

/** What labs of this process have on the machine at the moment: folders, and names of cgroups. */
export async function ownLabs(): Promise<readonly string[]> {
  const prefix = `${PREFIX}${process.pid}-`;
  return [...(await labFolders(prefix)), ...(await cgroupsThatBeginWith(prefix))];
}

/** One at a time on this machine: between being made and being locked, and while it is removed, a folder looks like one that was left. */
async function alone<Result>(action: () => Promise<Result>): Promise<Result> {
  const lock = openSync(join(await ensureCacheFolder('locks'), 'node-labs'), 'w');
  try {
    const attempt = () => tryLock(lock, 'exclusive') || undefined;
    await pollForLock('The list of labs', { timeoutMs: PATIENCE_MS }, attempt);
    return await action();
  } finally {
    closeSync(lock);
  }
}

async function labFolders(prefix: string): Promise<readonly string[]> {
  const names = await readdir(tmpdir());
  return names.filter((name) => name.startsWith(prefix)).map((name) => join(tmpdir(), name));
}

async function removeUnlessAlive(path: string, say: Say): Promise<void> {
  const lock = openSync(join(path, LOCK), 'w');
  try {
    if (!tryLock(lock, 'exclusive')) return;
    say(`Removing ${path}, which a lab of real nodes has left that was killed.`);
    await removeAll(path);
  } finally {
    closeSync(lock);
  }
}

/** The folder last: it tells of the rest. */
async function removeAll(path: string): Promise<void> {
  for (const name of await cgroupsThatBeginWith(`${basename(path)}-`)) await removeCgroups(name);
  await removeWithSysroots(path);
}
