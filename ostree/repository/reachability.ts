/** What a set of commits needs: the commits themselves, their directories and their files. Parents are not followed. */
import { OstreeError } from '../errors.ts';
import type { ObjectType } from '../objects/object-name.ts';
import type { TreeReference } from '../tree/tree-directory.ts';
import type { Repository } from './repository.ts';

/** Checksums by type of object. */
export type ObjectSet = Readonly<Record<ObjectType, Set<string>>>;

/** An empty set. */
export function emptyObjectSet(): ObjectSet {
  return { commit: new Set(), dirtree: new Set(), dirmeta: new Set(), file: new Set() };
}

/**
 * All objects that `commits` refer to, whether or not the files among them are there. A commit that is not in the
 * repository needs nothing; of one that is marked as partial, directories that are missing are passed over, and with
 * `skip` everything that cannot be read.
 *
 * @throws {OstreeError} `MissingObject` or `CorruptObject` when a directory of any other commit cannot be read: what it
 *   holds is unknown then, and no answer is better than a short one.
 */
export function reachableObjects(
  repository: Repository,
  commits: Iterable<string>,
  unreadable: 'throw' | 'skip' = 'throw',
): ObjectSet {
  const reached = emptyObjectSet();
  /** Directories that a partial commit lacks: a complete one that needs them as well is told so. */
  const missing = new Set<string>();
  for (const commit of commits) {
    if (reached.commit.has(commit) || !repository.hasObject('commit', commit)) continue;
    reached.commit.add(commit);
    const root = attempt(() => repository.readCommit(commit), unreadable);
    if (root === undefined) continue;
    const partial = repository.isPartial(commit);
    const waiting: TreeReference[] = [root];
    for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
      reached.dirmeta.add(next.dirmeta);
      if (reached.dirtree.has(next.dirtree) && (partial || !missing.has(next.dirtree))) continue;
      reached.dirtree.add(next.dirtree);
      if (partial && !repository.hasObject('dirtree', next.dirtree)) {
        missing.add(next.dirtree);
        continue;
      }
      const { dirtree } = next;
      const directory = attempt(() => read(repository, commit, dirtree), unreadable);
      if (directory === undefined) continue;
      const { files, directories } = directory;
      for (const { checksum } of files) reached.file.add(checksum);
      waiting.push(...directories);
    }
  }
  return reached;
}

function attempt<Result>(reading: () => Result, unreadable: 'throw' | 'skip'): Result | undefined {
  try {
    return reading();
  } catch (error) {
    if (unreadable === 'throw' || !(error instanceof OstreeError) || error.code === 'Io') throw error;
    return undefined;
  }
}

function read(repository: Repository, commit: string, dirtree: string): ReturnType<Repository['readDirtree']> {
  try {
    return repository.readDirtree(dirtree);
  } catch (error) {
    if (!(error instanceof OstreeError) || error.code === 'Io') throw error;
    throw new OstreeError(
      error.code,
      `the commit ${commit} in ${repository.path} is damaged (its directory ${dirtree} cannot be read); nothing was ` +
        'deleted: repair it first with `treeline fsck --repair`',
      { cause: error },
    );
  }
}
