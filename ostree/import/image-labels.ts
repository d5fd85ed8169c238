/** By which policy the files of an image are labelled, as the reference importer chooses it. */
import type { Repository } from '../repository/repository.ts';
import type { CommitLabels } from '../selinux/commit-labels.ts';
import { PolicyError } from '../selinux/errors.ts';
import { labelEpochOf, readTreePolicy } from '../selinux/tree-policy.ts';
import { TreeDirectory } from '../tree/tree-directory.ts';
import { ImportError } from './errors.ts';

/** What tells the label of a file by path and mode, or that it has none. */
export type Labeller = Pick<CommitLabels, 'lookup'>;

/**
 * For a derived layer while it is read: the policy of its base. A layer may bring another policy, so these labels are
 * provisional; mostly they are the final ones, and nothing has to be written twice.
 */
export function labelsForLayer(repository: Repository, base: string): Labeller | undefined {
  try {
    const labels = basePolicy(repository, base);
    return labels && new ProvisionalLabels(labels);
  } catch (error) {
    if (error instanceof PolicyError) return undefined;
    throw error;
  }
}

/**
 * For the whole merged tree: its own policy. If it has none, or has disabled it, the base's, by which the files of its
 * layers were labelled when they were imported.
 *
 * @throws {ImportError} `InvalidPolicy`
 */
export function labelsForMerge(
  repository: Repository,
  tree: TreeDirectory,
  base: string | undefined,
): Labeller | undefined {
  const epoch = base === undefined ? 0 : labelEpochOf(repository.readCommit(base).metadata);
  try {
    return readTreePolicy(repository, tree, epoch) ?? (base === undefined ? undefined : basePolicy(repository, base));
  } catch (error) {
    throw invalidPolicy(error);
  }
}

function basePolicy(repository: Repository, base: string): CommitLabels | undefined {
  const commit = repository.readCommit(base);
  return readTreePolicy(repository, TreeDirectory.load(repository, commit), labelEpochOf(commit.metadata));
}

/** Whether the image can do without a label is known when all its layers are there: until then, none is given. */
class ProvisionalLabels implements Labeller {
  readonly #labels: CommitLabels;

  constructor(labels: CommitLabels) {
    this.#labels = labels;
  }

  lookup(path: string, mode: number): string | undefined {
    try {
      return this.#labels.lookup(path, mode);
    } catch (error) {
      if (error instanceof PolicyError) return undefined;
      throw error;
    }
  }
}

/** A policy's failure as one of the image. */
export function invalidPolicy(error: unknown): unknown {
  if (!(error instanceof PolicyError)) return error;
  return new ImportError(
    'InvalidPolicy',
    `the image's SELinux policy cannot be used: ${error.message}; have the image built again with another policy`,
    { cause: error },
  );
}
