/**
 * The last step of importing a base: proof that the commit which its first layer brought is complete, before it becomes
 * part of the repository. Objects may still be staged; a commit in the repository is a complete one.
 *
 * Most of the proof does not have to wait for the last layer: what the tree refers to is looked for as soon as the
 * directories are there, and then only for what was not there yet.
 */
import { encodeCommit } from '../objects/commit.ts';
import { ObjectWriter, type WriterHandle } from '../repository/object-writer.ts';
import type { Repository } from '../repository/repository.ts';
import { StagedObjects } from '../repository/staged-objects.ts';
import { unpackDirectories } from './brought-directories.ts';
import { findLackingFiles, requireFiles, verifyClosure } from './closure.ts';
import { type ImageMetadata, mergeCommit } from './merge-commit.ts';

/** Files that a survey names, some 10 MB. When more are yet to come, there is little that it could spare the proof. */
const MAX_LACKING = 250_000;

/** Plain data: it is sent to a worker thread. */
export interface SurveyTask {
  /** The commit that was encapsulated. */
  readonly commit: string;
  /** Staging directories of layers that are complete but not committed yet. */
  readonly stagingPaths: readonly string[];
  /** Directories that need not be read, as `BroughtDirectories` packs them. */
  readonly directories?: Uint8Array | undefined;
}

/** Plain data, too. */
export interface BaseTask extends SurveyTask {
  /** What an earlier survey found to be lacking, since when the repository has been locked. Without it, all is looked for. */
  readonly lacking?: Uint8Array;
  /** Set when there is no layer on top of the base, and its tree is therefore the image's. */
  readonly image?: ImageMetadata;
  /** Milliseconds since the epoch, for images that do not say when they were made. */
  readonly now: number;
}

export interface BaseProof {
  /** Written if `image` was set. */
  readonly mergeCommit?: string;
}

/**
 * Files of the commit that are neither staged nor in the repository, 32 bytes of checksum each; undefined if they are too many to name.
 *
 * @throws {ImportError} `IncompleteImage` if directories are missing: they come with the commit.
 */
export async function surveyBase(repository: Repository, task: SurveyTask): Promise<Uint8Array | undefined> {
  const objects = objectsOf(repository, task);
  return await findLackingFiles(objects, objects.readCommit(task.commit), MAX_LACKING);
}

/** @throws {ImportError} `IncompleteImage` if the commit refers to anything that is neither staged nor in the repository. */
export async function proveBase(repository: Repository, handle: WriterHandle, task: BaseTask): Promise<BaseProof> {
  const objects = objectsOf(repository, task);
  const commit = objects.readCommit(task.commit);
  if (task.lacking === undefined) await verifyClosure(objects, commit);
  else requireFiles(objects, task.lacking);
  if (task.image === undefined) return {};
  const merged = encodeCommit(mergeCommit(task.image, task.commit, commit, new Date(task.now)));
  return { mergeCommit: new ObjectWriter(handle).writeMetadata('commit', merged) };
}

function objectsOf(repository: Repository, { stagingPaths, directories }: SurveyTask): StagedObjects {
  return new StagedObjects(repository, stagingPaths, directories && unpackDirectories(directories));
}
