/**
 * The last step of importing a base: proof that the commit which its first layer brought is complete, before it becomes
 * part of the repository. Objects may still be staged; a commit in the repository is a complete one.
 */
import { encodeCommit } from '../objects/commit.ts';
import { ObjectWriter, type WriterHandle } from '../repository/object-writer.ts';
import type { Repository } from '../repository/repository.ts';
import { StagedObjects } from '../repository/staged-objects.ts';
import { verifyClosure } from './closure.ts';
import { type ImageMetadata, mergeCommit } from './merge-commit.ts';

/** Plain data: it is sent to a worker thread. */
export interface BaseTask {
  /** The commit that was encapsulated. */
  readonly commit: string;
  /** Staging directories of layers that are complete but not committed yet. */
  readonly stagingPaths: readonly string[];
  /** Set when there is no layer on top of the base, and its tree is therefore the image's. */
  readonly image?: ImageMetadata;
  /** Milliseconds since the epoch, for images that do not say when they were made. */
  readonly now: number;
}

export interface BaseProof {
  /** Written if `image` was set. */
  readonly mergeCommit?: string;
}

/** @throws {ImportError} `IncompleteImage` if the commit refers to anything that is neither staged nor in the repository. */
export function proveBase(repository: Repository, handle: WriterHandle, task: BaseTask): BaseProof {
  const objects = new StagedObjects(repository, task.stagingPaths);
  const commit = objects.readCommit(task.commit);
  verifyClosure(objects, commit);
  if (task.image === undefined) return {};
  const merged = encodeCommit(mergeCommit(task.image, task.commit, commit, new Date(task.now)));
  return { mergeCommit: new ObjectWriter(handle).writeMetadata('commit', merged) };
}
