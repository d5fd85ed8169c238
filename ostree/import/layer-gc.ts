/**
 * Which layers and images may go. Layers are shared by images, deployments and other tools, so a layer goes only when
 * no manifest in the repository names it.
 *
 * Source: ostree-rs-ext, container store: `prune-layers`, `prune-images`.
 */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { ImageReference } from '../../registry/index.ts';
import { OstreeError } from '../errors.ts';
import type { Repository } from '../repository/repository.ts';
import { isImageCommit, readImageMetadata } from './merge-commit.ts';
import {
  blobRef,
  BLOB_REF_PREFIX,
  IMAGE_REF_PREFIX,
  imageRef,
  LAYER_ROOT_PREFIXES,
  PULL_GUARD_PREFIX,
} from './store-refs.ts';

const run = promisify(execFile);

/** Drops the refs of layers that nothing needs, and returns how many. Their objects go with the next prune. */
export async function pruneLayers(repository: Repository): Promise<number> {
  const needed = neededLayerRefs(repository);
  const unneeded = [...repository.listRefs(BLOB_REF_PREFIX).keys()].filter((ref) => !needed.has(ref));
  for (const ref of unneeded) await repository.setRef(ref, undefined);
  return unneeded.length;
}

function neededLayerRefs(repository: Repository): ReadonlySet<string> {
  const roots = new Set<string>();
  for (const prefix of [IMAGE_REF_PREFIX, ...LAYER_ROOT_PREFIXES]) {
    for (const commit of repository.listRefs(prefix).values()) roots.add(commit);
  }
  const needed = new Set<string>();
  for (const commit of roots) {
    if (!repository.hasObject('commit', commit)) continue;
    // An unreadable commit stops the collection: better to keep too much than to guess what it needs.
    const { metadata } = repository.readCommit(commit);
    if (!isImageCommit(metadata)) continue;
    for (const { digest } of readImageMetadata(commit, metadata).manifest.layers) needed.add(blobRef(digest));
  }
  return needed;
}

export interface PruneImagesOptions {
  /** The images that deployments' origins name. Their refs stay. */
  readonly deployed: readonly ImageReference[];
  /** Runs `ostree prune --refs-only --depth=0` elsewhere: from a container, in the host's mount namespace. */
  readonly pruneObjects?: () => Promise<void>;
  readonly signal?: AbortSignal;
}

export interface PrunedImages {
  readonly images: number;
  readonly layers: number;
}

/**
 * Drops the images that no deployment was made from, then their layers, then the objects that no ref needs any more,
 * the last by `ostree prune`, which knows the deployments of the whole sysroot.
 *
 * Call it when no pull is under way: what an interrupted pull had fetched goes too.
 *
 * @throws {OstreeError} `Io` with the words of `ostree prune`.
 */
export async function pruneImages(repository: Repository, options: PruneImagesOptions): Promise<PrunedImages> {
  const keep = new Set(options.deployed.map((image) => imageRef(image)));
  const unneeded = [...repository.listRefs(IMAGE_REF_PREFIX).keys()].filter((ref) => !keep.has(ref));
  const guards = [...repository.listRefs(PULL_GUARD_PREFIX).keys()];
  for (const ref of [...unneeded, ...guards]) await repository.setRef(ref, undefined);
  const layers = await pruneLayers(repository);
  await (options.pruneObjects?.() ?? pruneObjects(repository, options.signal));
  return { images: unneeded.length, layers };
}

async function pruneObjects(repository: Repository, signal: AbortSignal | undefined): Promise<void> {
  try {
    await run('ostree', ['prune', `--repo=${repository.path}`, '--refs-only', '--depth=0'], {
      signal,
    });
  } catch (error) {
    const words = error instanceof Error && 'stderr' in error ? String(error.stderr).trim() : String(error);
    throw new OstreeError('Io', `ostree prune of ${repository.path} failed: ${words}`, { cause: error });
  }
}
