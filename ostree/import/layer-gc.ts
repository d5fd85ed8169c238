/**
 * Which layers may go. Layers are shared by images, deployments and other tools, so a layer goes only when no manifest
 * that anything in the repository leads to names it.
 *
 * Source: ostree-rs-ext, container store: `prune-layers`. There only images, deployments and the bases of derived commits
 * count; here a commit under any ref does, a plain branch too.
 */
import type { LockOptions } from '../repository/lock.ts';
import type { Repository } from '../repository/repository.ts';
import { deploymentsOf } from '../store/deployment-roots.ts';
import { isImageCommit, readImageMetadata } from './merge-commit.ts';
import { clearPartialMark, dropUnfinishedMarks, listPartialMarks } from './partial-mark.ts';
import { blobRef, BLOB_REF_PREFIX } from './store-refs.ts';

/**
 * Drops the refs of layers that nothing needs, and returns how many. Their objects go with the next prune.
 *
 * @throws {OstreeError} when a commit or a ref cannot be read: better to keep too much than to guess what it needs; `LockTimeout`
 *   when somebody works with the repository for too long.
 */
export async function pruneLayers(repository: Repository, options: LockOptions = {}): Promise<number> {
  // A pull holds the lock from its look at what is there until its guard names that: neither sees the other half-way.
  using _lock = await repository.lock('exclusive', options);
  dropUnfinishedMarks(repository);
  // Before what is needed: a pull says what it needs before it marks any of it.
  const marks = listPartialMarks(repository);
  const { layers, needed } = readLayerRefs(repository);
  const unneeded = layers.filter((ref) => !needed.has(ref));
  if (unneeded.length > 0) repository.deleteRefs(unneeded);
  for (const digest of marks) if (!needed.has(blobRef(digest))) clearPartialMark(repository, digest);
  return unneeded.length;
}

/** All layer refs, and those that something needs. */
function readLayerRefs(repository: Repository): {
  readonly layers: readonly string[];
  readonly needed: ReadonlySet<string>;
} {
  const layers: string[] = [];
  const commits = new Set(deploymentsOf(repository.path).map(({ commit }) => commit));
  for (const [path, commit] of repository.listAllRefs()) {
    const ref = path.slice('heads/'.length);
    if (path.startsWith('heads/') && ref.startsWith(`${BLOB_REF_PREFIX}/`)) layers.push(ref);
    else commits.add(commit);
  }
  const needed = new Set<string>();
  for (const commit of commits) {
    if (!repository.hasObject('commit', commit)) continue;
    const { metadata } = repository.readCommit(commit);
    if (!isImageCommit(metadata)) continue;
    for (const { digest } of readImageMetadata(commit, metadata).manifest.layers) needed.add(blobRef(digest));
  }
  return { layers, needed };
}
