/**
 * The two locks that every tool on an OSTree host takes: the repository's `.lock` (shared to write, exclusive to
 * prune) and the sysroot's `ostree/lock`. Ours are the same files and the same kind of lock as libostree's.
 */
import { closeSync, constants, fstatSync, mkdirSync, openSync, unlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { ioError, systemErrorCode } from '../errors.ts';
import { pollForLock, tryLock, type LockKind } from '../posix/file-lock.ts';
import type { RepositoryConfig } from './config.ts';

/** A lock that is held until disposed of, or until the process ends. */
export interface HeldLock extends Disposable {
  /** Releases the lock; further calls do nothing. */
  release(): void;
}

export interface LockOptions {
  /** Milliseconds to wait; the repository's `core.lock-timeout-secs`, by default 300 s, if not given. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal | undefined;
}

/** How long `lockSysroot` waits unless told otherwise: an `ostree admin deploy` on a slow disk takes minutes. */
const SYSROOT_LOCK_TIMEOUT_MS = 300_000;

/** Locks a repository. Throws LockTimeout if others hold it for too long. */
export async function lockRepository(
  path: string,
  config: RepositoryConfig,
  kind: LockKind,
  options: LockOptions = {},
): Promise<HeldLock> {
  if (!config.locking) return held(undefined, () => undefined);
  const file = join(path, '.lock');
  const fd = openLock(file, 0o660, 'lock the repository', kind);
  try {
    await pollForLock(
      `The repository ${path}`,
      { timeoutMs: options.timeoutMs ?? config.lockTimeoutMs, signal: options.signal },
      () => tryLock(fd, kind) || undefined,
    );
  } catch (error) {
    closeSync(fd);
    throw error;
  }
  return held(fd, () => undefined);
}

/**
 * Locks a sysroot exclusively against `ostree admin`, bootc and rpm-ostree. Release it before calling any of them.
 * Throws LockTimeout if others hold it for too long.
 */
export async function lockSysroot(sysroot: string, options: LockOptions = {}): Promise<HeldLock> {
  const file = join(sysroot, 'ostree/lock');
  mkdirSync(dirname(file), { recursive: true });
  const fd = await pollForLock(
    `The sysroot ${sysroot}`,
    { timeoutMs: options.timeoutMs ?? SYSROOT_LOCK_TIMEOUT_MS, signal: options.signal },
    () => tryLockSysroot(file),
  );
  return held(fd, () => unlinkSync(file));
}

function tryLockSysroot(file: string): number | undefined {
  const fd = openLock(file, 0o600, 'lock the sysroot');
  try {
    // The holder unlinks the file when it is done: a lock on a file without a name excludes nobody.
    if (tryLock(fd, 'exclusive') && fstatSync(fd).nlink > 0) return fd;
  } catch (error) {
    closeSync(fd);
    throw error;
  }
  closeSync(fd);
  return undefined;
}

function openLock(file: string, mode: number, doing: string, kind: LockKind = 'exclusive'): number {
  const flags = constants.O_NOCTTY | constants.O_NOFOLLOW;
  try {
    return openSync(file, constants.O_RDWR | constants.O_CREAT | flags, mode);
  } catch (error) {
    if (systemErrorCode(error) !== 'EROFS' || kind !== 'shared') throw ioError(`${doing} with ${file}`, error);
  }
  // Read-only for us: a booted host's own tools may still write, in mount namespaces of theirs.
  try {
    return openSync(file, constants.O_RDONLY | flags);
  } catch (error) {
    throw ioError(`${doing} with ${file}`, error);
  }
}

function held(fd: number | undefined, beforeRelease: () => void): HeldLock {
  let open = fd;
  const release = (): void => {
    if (open === undefined) return;
    const closing = open;
    open = undefined;
    try {
      beforeRelease();
    } finally {
      closeSync(closing);
    }
  };
  return { release, [Symbol.dispose]: release };
}
