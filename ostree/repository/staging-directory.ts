/**
 * The directory in which a transaction collects its objects, with the lock that says that it is in use. Named and
 * locked as libostree does it, so that each tool recognises what the other left behind when it was killed.
 */
import {
  closeSync,
  constants,
  existsSync,
  fstatSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
} from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { ioError, systemErrorCode } from '../errors.ts';
import { tryLock } from '../posix/file-lock.ts';

export interface StagingDirectory {
  readonly path: string;
  /** Deletes the directory with all that is still in it, and lets go of it. */
  remove(): Promise<void>;
}

/** Identifies this boot: what an earlier one staged may never have reached the disk. random(4). */
export function readBootId(): string {
  return readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();
}

/**
 * Takes over the staging directory of a writer that was killed since `bootId` began, with the objects that it had
 * completed, or makes a new one. Those that nobody uses any more are deleted on the way.
 */
export async function acquireStagingDirectory(repository: string, bootId: string): Promise<StagingDirectory> {
  const tmp = join(repository, 'tmp');
  const prefix = `staging-${bootId}-`;
  try {
    for (const entry of readdirSync(tmp, { withFileTypes: true })) {
      if (!entry.isDirectory() || !entry.name.startsWith('staging-')) continue;
      const staging = tryAcquire(join(tmp, entry.name));
      if (staging === undefined) continue;
      if (entry.name.startsWith(prefix)) {
        dropUnfinished(staging.path);
        return staging;
      }
      await staging.remove();
    }
    for (;;) {
      const staging = tryAcquire(mkdtempSync(join(tmp, prefix)));
      if (staging !== undefined) return staging;
    }
  } catch (error) {
    throw ioError(`stage objects in ${tmp}`, error);
  }
}

function tryAcquire(path: string): StagingDirectory | undefined {
  const lockPath = `${path}-lock`;
  const fd = openSync(lockPath, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o660);
  // Between our look and our lock, the owner may have finished and deleted both.
  if (!tryLock(fd, 'exclusive') || fstatSync(fd).nlink === 0 || !existsSync(path)) {
    closeSync(fd);
    return undefined;
  }
  return {
    path,
    remove: async () => {
      try {
        await rm(path, { recursive: true, force: true });
        rmSync(lockPath, { force: true });
      } finally {
        closeSync(fd);
      }
    },
  };
}

/**
 * Objects are complete as soon as they have a name, but a commit speaks for all that it refers to, and of those the
 * killed writer may not have had all.
 */
function dropUnfinished(path: string): void {
  for (const prefix of readdirSync(path)) {
    const directory = join(path, prefix);
    if (prefix.length !== 2) {
      rmSync(directory, { recursive: true, force: true });
      continue;
    }
    for (const name of readDirectory(directory)) if (name.endsWith('.commit')) rmSync(join(directory, name));
  }
}

function readDirectory(path: string): readonly string[] {
  try {
    return readdirSync(path);
  } catch (error) {
    if (systemErrorCode(error) === 'ENOTDIR') return [];
    throw error;
  }
}
