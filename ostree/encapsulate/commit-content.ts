/** The content objects of a commit, and where in it each is found. */
import type { Repository } from '../repository/repository.ts';
import { TreeDirectory } from '../tree/tree-directory.ts';

/** By checksum, the paths of each object in the commit. Those in `/sysroot` have none: in a container the repository is there. */
export type CommitContent = ReadonlyMap<string, readonly string[]>;

/** Reads all directories of the commit. Throws an OstreeError if one is missing. */
export function contentOfCommit(repository: Repository, checksum: string): CommitContent {
  const content = new Map<string, string[]>();
  const root = TreeDirectory.load(repository, repository.readCommit(checksum));
  for (const { path, checksum: file } of root.walkFiles()) {
    const paths = content.get(file) ?? [];
    if (!path.startsWith('sysroot/')) paths.push(path);
    content.set(file, paths);
  }
  return content;
}
