/**
 * Makes the merge commit of an image whose layers are all imported, and points the image's ref at it.
 *
 * Source: ostree-rs-ext, container store: merge commit.
 */
import { encodeCommit } from '../objects/commit.ts';
import type { Repository } from '../repository/repository.ts';
import { StagedObjects } from '../repository/staged-objects.ts';
import { TreeDirectory, type TreeReference } from '../tree/tree-directory.ts';
import { verifyClosure } from './closure.ts';
import { DirectoryMarks } from './directory-marks.ts';
import { invalidPolicy, labelsForMerge } from './image-labels.ts';
import { type ImageMetadata, mergeCommit } from './merge-commit.ts';
import { applyLayer, type DirectoryMetadataRule, removeBuildResidue } from './merge-tree.ts';
import { PendingMetadata } from './pending-metadata.ts';
import { TreeRelabeller } from './relabel-tree.ts';

/** Plain data: it is sent to a worker thread. */
export interface MergeTask {
  readonly image: ImageMetadata;
  /** The commit that was encapsulated, if one was. */
  readonly base?: string;
  /** Layers on top of it, lowest first. */
  readonly derived: readonly DerivedLayerCommit[];
  /** Whose metadata a directory has that several layers have. */
  readonly directoryMetadata: DirectoryMetadataRule;
  /** Of the image, and of who is to keep it. */
  readonly refs: readonly string[];
  /** Milliseconds since the epoch, for images that do not say when they were made. */
  readonly now: number;
}

export interface DerivedLayerCommit {
  readonly commit: string;
  /** The layer's ref, which follows its commit when files of the layer get other labels. */
  readonly ref: string;
}

export interface MergeResult {
  readonly commit: string;
}

/**
 * @throws {ImportError} `IncompleteImage` if the merged tree refers to anything that is not in the repository,
 *   `InvalidPolicy` if its files cannot be labelled.
 */
export async function mergeImage(repository: Repository, task: MergeTask): Promise<MergeResult> {
  const tree = lowestTree(repository, task);
  for (const layer of task.derived) {
    const commit = repository.readCommit(layer.commit);
    const marks = new DirectoryMarks(layer.commit, commit.metadata);
    applyLayer(repository, tree, TreeDirectory.load(repository, commit), marks, task.directoryMetadata);
  }
  removeBuildResidue(repository, tree);
  // Until a ref is set, nothing names the new directories: a prune in between would take them.
  using _lock = await repository.lock('shared');
  const root = await writeTree(repository, task, tree).catch((error: unknown) => {
    throw invalidPolicy(error);
  });
  // The commit only after the proof: every commit that is in the repository can be deployed.
  await verifyClosure(new StagedObjects(repository, []), root);
  await using transaction = await repository.beginTransaction();
  const commit = encodeCommit(mergeCommit(task.image, task.base, root, new Date(task.now)));
  const checksum = transaction.writeMetadata('commit', commit);
  for (const ref of task.refs) transaction.setRef(ref, checksum);
  await transaction.commit();
  return { commit: checksum };
}

/** What the layers are laid over: without a base an empty directory with the metadata of the first layer's root. */
function lowestTree(repository: Repository, { base, derived: [first] }: MergeTask): TreeDirectory {
  if (base !== undefined) return TreeDirectory.load(repository, repository.readCommit(base));
  if (first === undefined) throw new Error('an image of no layers');
  return TreeDirectory.empty(repository.readCommit(first.commit).dirmeta);
}

async function writeTree(repository: Repository, task: MergeTask, tree: TreeDirectory): Promise<TreeReference> {
  const labels = labelsForMerge(repository, tree, task.base);
  await using transaction = await repository.beginTransaction();
  let root: TreeReference;
  if (labels === undefined) {
    root = tree.write(transaction);
  } else {
    const pending = new PendingMetadata();
    const relabeller = new TreeRelabeller(repository, transaction, labels, pending);
    root = await relabeller.relabel(tree.write(pending));
    // So that the layer, kept for the next image that has it, shares its objects with the merged tree.
    for (const { commit, ref } of task.derived) {
      const layer = repository.readCommit(commit);
      const { parent: _none, ...relabelled } = { ...layer, ...(await relabeller.relabel(layer)) };
      transaction.setRef(ref, transaction.writeMetadata('commit', encodeCommit(relabelled)));
    }
  }
  await transaction.commit();
  return root;
}
