/** The labels that a tree on disk gives its own files: its policy is read from it before anything is written. */
import type { Repository } from '../repository/repository.ts';
import type { CommitLabels, LabelEpoch } from '../selinux/commit-labels.ts';
import { readTreePolicy } from '../selinux/tree-policy.ts';
import { TreeDirectory } from '../tree/tree-directory.ts';
import { type DirectoryNode, emptyDirectory, findDirectory } from './tree-node.ts';
import { writeTree } from './write-tree.ts';

const POLICY = 'usr/etc/selinux';

/**
 * Undefined if the tree has no policy, or has disabled it. The policy's files are written into the repository on the way,
 * unlabelled: the next prune deletes them. @throws {PolicyError} `InvalidPolicy`, `UnsupportedPattern`
 */
export async function labelsOfTree(
  repository: Repository,
  root: DirectoryNode,
  epoch: LabelEpoch,
): Promise<CommitLabels | undefined> {
  const policy = findDirectory(root, POLICY);
  if (policy === undefined) return undefined;
  const above = emptyDirectory();
  const [usr, etc] = [emptyDirectory(), emptyDirectory()];
  above.entries.set('usr', usr);
  usr.entries.set('etc', etc);
  etc.entries.set('selinux', policy);
  // From when they are written until they have been read, a prune must not take them.
  using _lock = await repository.lock('shared');
  await using transaction = await repository.beginTransaction();
  const reference = await writeTree(repository, transaction, above);
  await transaction.commit();
  return readTreePolicy(repository, TreeDirectory.load(repository, reference), epoch);
}
