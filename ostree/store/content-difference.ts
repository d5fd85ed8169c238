/** How the content of two commits differs, object by object: the least that has to be brought from one to the other. */
import { setImmediate as turn } from 'node:timers/promises';
import type { Repository } from '../repository/repository.ts';
import { TreeDirectory } from '../tree/tree-directory.ts';

export interface ContentSum {
  /** Content objects: files that are equal count once. */
  readonly objects: number;
  /** Uncompressed. */
  readonly bytes: number;
}

export interface ContentDifference {
  /** In the second commit only. */
  readonly added: ContentSum;
  /** In the first commit only. */
  readonly removed: ContentSum;
}

/** Objects that are looked at before others have a turn. */
const OBJECTS_PER_TURN = 1000;

/** Compares two complete commits of a repository. Throws an OstreeError if one cannot be read. */
export async function compareContent(
  repository: Repository,
  before: string,
  after: string,
): Promise<ContentDifference> {
  const [old, current] = [before, after].map((commit) => {
    const root = TreeDirectory.load(repository, repository.readCommit(commit));
    return new Set(Array.from(root.walkFiles(), ({ checksum }) => checksum));
  }) as [Set<string>, Set<string>];
  return {
    added: await sum(repository, current.difference(old)),
    removed: await sum(repository, old.difference(current)),
  };
}

async function sum(repository: Repository, checksums: ReadonlySet<string>): Promise<ContentSum> {
  let objects = 0;
  let bytes = 0;
  for (const checksum of checksums) {
    if (++objects % OBJECTS_PER_TURN === 0) await turn();
    using file = repository.openFile(checksum);
    bytes += file.size;
  }
  return { objects, bytes };
}
