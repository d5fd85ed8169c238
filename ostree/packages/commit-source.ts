/** A commit as what reads packages needs it. */
import type { Commit } from '../objects/commit.ts';
import { TreeDirectory, type TreeSource } from '../tree/tree-directory.ts';
import { type FileSource, TreePaths } from './tree-paths.ts';

/** Where a commit is read from: a Repository. */
export interface CommitSource extends TreeSource, FileSource {
  readCommit(checksum: string): Commit;
}

/** Throws an OstreeError if the commit cannot be read. */
export function treePathsOf(source: CommitSource, commit: string): TreePaths {
  return new TreePaths(source, TreeDirectory.load(source, source.readCommit(commit)));
}
