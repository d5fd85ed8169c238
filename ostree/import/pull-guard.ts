/**
 * Keeps the layers of an image while it is being pulled, and after a pull that was interrupted, so that the next one goes
 * on there: a commit with the image's manifest and an empty tree, under a ref below `ostree/container/baseimage`. Every
 * tool's clean-up keeps the layers that such a commit names.
 *
 * A lock beside it says that the pull is under way. It keeps no image: what a pull is for has a guard of its own, which is
 * set with the image's ref.
 */
import type { ResolvedImage } from '../../registry/index.ts';
import { encodeCommit } from '../objects/commit.ts';
import { encodeDirectoryMetadata } from '../objects/dirmeta.ts';
import { encodeDirtree } from '../objects/dirtree.ts';
import { S_IFDIR } from '../objects/file-header.ts';
import { NO_XATTRS } from '../objects/xattrs.ts';
import type { Repository } from '../repository/repository.ts';
import { dropUnlessHeld, hasLock, standBehind } from './guard-lock.ts';
import { mergeCommit } from './merge-commit.ts';
import { PULL_GUARD_PREFIX, pullGuardRef } from './store-refs.ts';

/** Dispose of it when the pull has ended, however it did: the guard stays until `lift`, or a clean-up. */
export interface PullGuard extends Disposable {
  /** The image is complete, or its layers may go. A guard that another pull of the same image stands behind stays. */
  lift(): Promise<void>;
}

/** Begins to guard the layers of `image`. */
export async function guardPull(
  repository: Repository,
  image: ResolvedImage,
  signal?: AbortSignal,
): Promise<PullGuard> {
  const ref = pullGuardRef(image.digest);
  // The same image may be pulled twice at once.
  const release = await standBehind(repository, ref, signal);
  try {
    await writeGuard(repository, ref, image, signal);
  } catch (error) {
    release();
    throw error;
  }
  return {
    lift: async () => {
      release();
      await dropUnlessHeld(repository, ref);
    },
    [Symbol.dispose]: release,
  };
}

/** Drops the guards of pulls that are over, interrupted ones among them. Returns how many there were. */
export async function dropDeadGuards(repository: Repository): Promise<number> {
  let dropped = 0;
  for (const ref of repository.listRefs(PULL_GUARD_PREFIX).keys()) {
    if (await dropUnlessHeld(repository, ref)) dropped++;
  }
  return dropped;
}

/** Drops the guard of an image's pulls, if there is one and no pull is under way. */
export async function dropGuard(repository: Repository, digest: string): Promise<void> {
  const ref = pullGuardRef(digest);
  // After a power cut either may be there without the other.
  if (repository.findRef(ref) === undefined && !hasLock(repository, ref)) return;
  await dropUnlessHeld(repository, ref);
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
