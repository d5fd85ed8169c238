/**
 * Keeps the layers of an image while it is being pulled, and after a pull that was interrupted, so that the next one goes
 * on there: a commit with the image's manifest and an empty tree, under a ref below `ostree/container/baseimage`. Every
 * tool's clean-up keeps the layers that such a commit names.
 *
 * Beside it a lock says that the pull is under way. It is let go of by the kernel however the process ends, and tells
 * our own clean-up which guards nobody stands behind any more.
 */
import { closeSync, constants, existsSync, fstatSync, openSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { ResolvedImage } from '../../registry/index.ts';
import { ioError } from '../errors.ts';
import { encodeCommit } from '../objects/commit.ts';
import { encodeDirectoryMetadata } from '../objects/dirmeta.ts';
import { encodeDirtree } from '../objects/dirtree.ts';
import { S_IFDIR } from '../objects/file-header.ts';
import { NO_XATTRS } from '../objects/xattrs.ts';
import { pollForLock, tryLock } from '../posix/file-lock.ts';
import type { Repository } from '../repository/repository.ts';
import { mergeCommit } from './merge-commit.ts';
import { PULL_GUARD_PREFIX, pullGuardRef } from './store-refs.ts';

/** Dispose of it when the pull has ended, however it did: the guard stays until `lift`, or a clean-up. */
export interface PullGuard extends Disposable {
  /** The image is complete, or its layers may go. A guard that another pull of the same image stands behind stays. */
  lift(): Promise<void>;
}

/** How long a pull waits for a clean-up that is just looking at its guard: that takes milliseconds. */
const LOCK_TIMEOUT_MS = 60_000;

/** Begins to guard the layers of `image`. */
export async function guardPull(
  repository: Repository,
  image: ResolvedImage,
  signal?: AbortSignal,
): Promise<PullGuard> {
  const ref = pullGuardRef(image.digest);
  const path = lockPath(repository, ref);
  // Shared: the same image may be pulled twice at once.
  let fd: number | undefined = await pollForLock(
    `The pull of ${image.digest}`,
    { timeoutMs: LOCK_TIMEOUT_MS, signal },
    () => lockNamed(path, 'shared'),
  );
  const release = (): void => {
    if (fd !== undefined) closeSync(fd);
    fd = undefined;
  };
  try {
    await writeGuard(repository, ref, image, signal);
  } catch (error) {
    release();
    throw error;
  }
  return {
    lift: async () => {
      release();
      await dropGuardRef(repository, ref);
    },
    [Symbol.dispose]: release,
  };
}

/** Drops the guards of pulls that are over, interrupted ones among them. Returns how many there were. */
export async function dropDeadGuards(repository: Repository): Promise<number> {
  let dropped = 0;
  for (const ref of repository.listRefs(PULL_GUARD_PREFIX).keys()) {
    if (await dropGuardRef(repository, ref)) dropped++;
  }
  return dropped;
}

/** Drops the guard of an image's pulls, if there is one and no pull is under way. */
export async function dropGuard(repository: Repository, digest: string): Promise<void> {
  const ref = pullGuardRef(digest);
  // After a power cut either may be there without the other.
  if (repository.readRef(ref) === undefined && !existsSync(lockPath(repository, ref))) return;
  await dropGuardRef(repository, ref);
}

async function dropGuardRef(repository: Repository, ref: string): Promise<boolean> {
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

/** In `tmp`, where libostree deletes what is a day old: all that is lost with it is the knowledge of who is at work. */
function lockPath(repository: Repository, ref: string): string {
  return join(repository.path, 'tmp', `treeline-${ref.slice(PULL_GUARD_PREFIX.length + 1)}.lock`);
}

function lockNamed(path: string, kind: 'shared' | 'exclusive'): number | undefined {
  let fd: number;
  try {
    fd = openSync(path, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o600);
  } catch (error) {
    throw ioError(`lock a pull with ${path}`, error);
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

async function writeGuard(
  repository: Repository,
  guard: string,
  image: ResolvedImage,
  signal: AbortSignal | undefined,
): Promise<void> {
  await using transaction = await repository.beginTransaction({ signal });
  const directory = { uid: 0, gid: 0, mode: S_IFDIR | 0o755, xattrs: NO_XATTRS };
  const root = {
    dirtree: transaction.writeMetadata('dirtree', encodeDirtree({ files: [], directories: [] })),
    dirmeta: transaction.writeMetadata('dirmeta', encodeDirectoryMetadata(directory)),
  };
  const { parent: _none, ...commit } = mergeCommit({ ...image, manifestDigest: image.digest }, '', root, new Date(0));
  transaction.setRef(guard, transaction.writeMetadata('commit', encodeCommit(commit)));
  await transaction.commit();
}
