/** Commits a directory tree, from disk or of another commit, as an operating system. */
import { type Variant, variant, type VariantDictionary } from '../gvariant/value.ts';
import { encodeCommit, treeChecksum } from '../objects/commit.ts';
import type { Repository } from '../repository/repository.ts';
import type { LabelEpoch } from '../selinux/commit-labels.ts';
import { LABEL_EPOCH_KEY, labelEpochOf } from '../selinux/tree-policy.ts';
import { arrange, type Arranged, MOUNT_POINTS } from './layout.ts';
import { loadTree } from './load-tree.ts';
import { scanTree } from './scan-tree.ts';
import { labelsOfTree } from './tree-labels.ts';
import type { DirectoryNode } from './tree-node.ts';
import { writeTree, type WrittenSoFar } from './write-tree.ts';

/** Both are only read. */
export type TreeSource =
  | { readonly kind: 'directory'; readonly path: string }
  /** A commit of the same repository, for example one that was imported from a container image. */
  | { readonly kind: 'commit'; readonly checksum: string };

export interface CommitTreeOptions {
  readonly repository: Repository;
  readonly source: TreeSource;
  /** The ref that will name the commit. */
  readonly ref: string;
  readonly bootable: boolean;
  /** Seconds since the epoch. */
  readonly timestamp: number;
  readonly version?: string | undefined;
  readonly subject?: string;
  readonly onProgress?: (progress: WrittenSoFar) => void;
  readonly signal?: AbortSignal | undefined;
}

export interface CommittedTree extends Arranged {
  readonly commit: string;
  /** Equal for equal trees: `ostree show` calls it ContentChecksum. */
  readonly contentChecksum: string;
  /** Whether the files were labelled, by the tree's own policy. */
  readonly labelled: boolean;
}

/**
 * Commits the tree in the layout of an OSTree system. The same tree and options give the same commit everywhere.
 * Killed at any point it leaves the repository without the commit; run again, it goes through all of it.
 *
 * @throws {ComposeError} if the tree cannot be an operating system, PolicyError, OstreeError
 */
export async function commitTree(options: CommitTreeOptions): Promise<CommittedTree> {
  const { repository, signal } = options;
  const { root, epoch } = readSource(options);
  const arranged = arrange(root, options);
  const labels = await labelsOfTree(repository, root, epoch);
  await using transaction = await repository.beginTransaction();
  const reference = await writeTree(repository, transaction, root, { labels, signal, onProgress: options.onProgress });
  const commit = transaction.writeMetadata(
    'commit',
    encodeCommit({
      metadata: systemMetadata(arranged.kernel, epoch, options.version),
      subject: options.subject ?? '',
      body: '',
      timestamp: options.timestamp,
      ...reference,
    }),
  );
  transaction.setRef(options.ref, commit);
  await transaction.commit();
  return { ...arranged, commit, contentChecksum: treeChecksum(reference), labelled: labels !== undefined };
}

function readSource({ repository, source, signal }: CommitTreeOptions): {
  readonly root: DirectoryNode;
  readonly epoch: LabelEpoch;
} {
  if (source.kind === 'directory') {
    return { root: scanTree(source.path, { skipContent: MOUNT_POINTS, signal }), epoch: 0 };
  }
  const commit = repository.readCommit(source.checksum);
  // The image says of itself by which rule it was labelled: its own commit does, or the one that it is built upon.
  const base = commit.parent === undefined ? commit : repository.readCommit(commit.parent);
  return { root: loadTree(repository, commit), epoch: labelEpochOf(base.metadata) };
}

/** What hosts and other tools look for in the commit of a system, sorted by key: ostree-commit(1), `--bootable`. */
function systemMetadata(kernel: string | undefined, epoch: LabelEpoch, version: string | undefined): VariantDictionary {
  const metadata: (readonly [string, Variant])[] = [];
  if (kernel !== undefined) {
    metadata.push(['ostree.bootable', variant.boolean(true)], ['ostree.linux', variant.string(kernel)]);
  }
  if (epoch > 0) metadata.push([LABEL_EPOCH_KEY, { type: 'u', value: epoch }]);
  if (version !== undefined) metadata.push(['version', variant.string(version)]);
  return metadata;
}
