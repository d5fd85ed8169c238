/**
 * The lock beside a guard ref that says that somebody stands behind it. It is let go of by the kernel however the process
 * ends, and tells our own clean-up which guards are left over.
 */
import { closeSync, constants, existsSync, fstatSync, openSync, readdirSync, rmSync } from 'node:fs';
import { basename, join } from 'node:path';
import { ioError } from '../errors.ts';
import { type LockKind, pollForLock, tryLock } from '../posix/file-lock.ts';
import type { Repository } from '../repository/repository.ts';

/** How long a guard waits for a clean-up that is just looking at it: that takes milliseconds. */
const LOCK_TIMEOUT_MS = 60_000;
const LOCK_SUFFIX = '.lock';

/** Stands behind a guard until it is called, or the process ends. Several may stand behind the same. */
export async function standBehind(repository: Repository, ref: string, signal?: AbortSignal): Promise<() => void> {
  const path = lockPath(repository, ref);
  let fd: number | undefined = await pollForLock(`The guard ${ref}`, { timeoutMs: LOCK_TIMEOUT_MS, signal }, () =>
    lockNamed(path, 'shared'),
  );
  return () => {
    if (fd !== undefined) closeSync(fd);
    fd = undefined;
  };
}

/** Drops a guard, and its lock, unless somebody stands behind it. Returns whether it is gone. */
export async function dropUnlessHeld(repository: Repository, ref: string): Promise<boolean> {
  const path = lockPath(repository, ref);
  const fd = lockNamed(path, 'exclusive');
  if (fd === undefined) return false;
  try {
    await repository.setRef(ref, undefined);
    rmSync(path, { force: true });
  } finally {
    closeSync(fd);
  }
  return true;
}

/** Whether there is a lock of this guard: after a crash either may be there without the other. */
export function hasLock(repository: Repository, ref: string): boolean {
  return existsSync(lockPath(repository, ref));
}

/** Guards whose ref begins with `prefix`, up to within its last part, that have a lock, whether or not they have been set. */
export function lockedGuards(repository: Repository, prefix: string): readonly string[] {
  const tmp = join(repository.path, 'tmp');
  const first = fileName(prefix);
  try {
    return readdirSync(tmp)
      .filter((name) => name.startsWith(first) && name.endsWith(LOCK_SUFFIX))
      .map((name) => `${prefix}${name.slice(first.length, -LOCK_SUFFIX.length)}`);
  } catch (error) {
    throw ioError(`list ${tmp}`, error);
  }
}

/** In `tmp`, where libostree deletes what is a day old: all that is lost with it is the knowledge of who is at work. */
function lockPath(repository: Repository, ref: string): string {
  return join(repository.path, 'tmp', `${fileName(ref)}${LOCK_SUFFIX}`);
}

function fileName(ref: string): string {
  return `treeline-${basename(ref)}`;
}

function lockNamed(path: string, kind: LockKind): number | undefined {
  let fd: number;
  try {
    fd = openSync(path, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o600);
  } catch (error) {
    throw ioError(`lock a guard with ${path}`, error);
  }
  try {
    // Whoever drops a guard deletes the file: a lock on one without a name tells nobody anything.
    if (tryLock(fd, kind) && fstatSync(fd).nlink > 0) return fd;
  } catch (error) {
    closeSync(fd);
    throw error;
  }
  closeSync(fd);
  return undefined;
}
