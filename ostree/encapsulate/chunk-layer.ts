/** The tar stream of a layer that carries part of a commit's content objects. Source: ostree-container format, chunks. */
import type { Repository } from '../repository/repository.ts';
import { TreeDirectory } from '../tree/tree-directory.ts';
import { contentObject, repositorySkeleton } from './repository-entries.ts';
import { TAR_END } from './tar-entry.ts';

/** Where each content object of a commit is found; those in `/sysroot` have no path in a container. */
export function pathsOfCommit(repository: Repository, checksum: string): ReadonlyMap<string, readonly string[]> {
  const paths = new Map<string, string[]>();
  const root = TreeDirectory.load(repository, repository.readCommit(checksum));
  for (const { path, checksum: file } of root.walkFiles()) {
    if (path.startsWith('sysroot/')) continue;
    const known = paths.get(file);
    if (known === undefined) paths.set(file, [path]);
    else known.push(path);
  }
  return paths;
}

/** Streams a layer with `objects`, each with its `paths`. */
export async function* chunkLayer(
  repository: Repository,
  objects: Iterable<string>,
  paths: ReadonlyMap<string, readonly string[]>,
): AsyncGenerator<Buffer> {
  yield* repositorySkeleton();
  for (const checksum of [...objects].sort()) yield* contentObject(repository, checksum, paths.get(checksum) ?? []);
  yield TAR_END;
}
