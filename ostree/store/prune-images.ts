/**
 * Garbage collection of the container store: the images that no deployment was made from, then their layers and what
 * pulls that were cut off have kept of blobs, then the objects. What a deployment, a staged deployment, a ref of any tool
 * or a pull under way needs is kept.
 *
 * Source: ostree-rs-ext, container store: `prune-images`.
 */
import { formatImageReference, type ImageReference } from '../../registry/index.ts';
import { dropDeadDeploymentGuards } from '../import/deployment-guard.ts';
import { dropKeptBlobs } from '../import/kept-blob-folder.ts';
import { pruneLayers } from '../import/layer-gc.ts';
import { dropDeadGuards } from '../import/pull-guard.ts';
import {
  GUARD_REF_PREFIX,
  IMAGE_REF_PREFIX,
  imageRef,
  PULL_GUARD_PREFIX,
  tryImageOfRef,
} from '../import/store-refs.ts';
import { pruneObjects, type PrunedObjects } from '../repository/prune.ts';
import type { Repository } from '../repository/repository.ts';
import { readDeploymentRoots } from './deployment-roots.ts';

/** How far to go; each includes those before it. */
export type PruneExtent = 'images' | 'layers' | 'objects';

export interface PruneImagesOptions {
  /** The deployments of this sysroot are asked what they need. Lock it meanwhile. */
  readonly sysroot: string;
  /** Images to keep beside those that the deployments' origins name. */
  readonly alsoKeep?: readonly ImageReference[];
  readonly extent: PruneExtent;
  readonly signal?: AbortSignal;
}

export interface PrunedImages extends PrunedObjects {
  /** In display form. */
  readonly images: readonly string[];
  readonly layers: number;
}

/**
 * @throws {OstreeError} `InvalidData` when a deployment cannot be understood, `CorruptObject` or `MissingObject` when a
 *   ref or a commit cannot be read; nothing is deleted then.
 */
export async function pruneImages(repository: Repository, options: PruneImagesOptions): Promise<PrunedImages> {
  const { extent, sysroot, signal } = options;
  // What a ref needs that holds no checksum is unknown. Before anything is deleted.
  repository.listAllRefs();
  await dropDeadDeploymentGuards(repository);
  const images = await dropUnneeded(repository, options);
  if (extent === 'images') return { images, layers: 0, objects: 0, bytes: 0 };
  await dropDeadGuards(repository);
  const kept = dropKeptBlobs(repository);
  const layers = await pruneLayers(repository);
  if (extent === 'layers') return { images, layers, objects: 0, bytes: kept };
  const deployed = () => readDeploymentRoots(sysroot).map(({ commit }) => commit);
  const pruned = await pruneObjects(repository, deployed, { signal });
  return { images, layers, objects: pruned.objects, bytes: kept + pruned.bytes };
}

/** Drops the refs of images that nothing needs, and returns the images. */
async function dropUnneeded(
  repository: Repository,
  { sysroot, alsoKeep = [], signal }: PruneImagesOptions,
): Promise<readonly string[]> {
  // Who wants to deploy an image sees under this lock that it is there, and guards it: neither sees the other half-way.
  using _lock = await repository.lock('exclusive', { signal });
  const roots = readDeploymentRoots(sysroot);
  const images = [...roots.flatMap(({ image }) => image ?? []), ...alsoKeep];
  const named = new Set(images.map((image) => imageRef(image)));
  // An image that is about to be deployed has a guard, and no origin names it yet.
  const held = new Set([...roots.map(({ commit }) => commit), ...guardedCommits(repository)]);
  const unneeded = new Map<string, string>();
  for (const [ref, commit] of repository.listRefs(IMAGE_REF_PREFIX)) {
    // What stands for no image is not ours to judge.
    const image = tryImageOfRef(ref);
    if (image === undefined || named.has(ref) || held.has(commit)) continue;
    unneeded.set(ref, formatImageReference(image));
  }
  if (unneeded.size > 0) repository.deleteRefs([...unneeded.keys()]);
  return [...unneeded.values()];
}

/** Held by guards of ours that are no guards of pulls. */
function guardedCommits(repository: Repository): readonly string[] {
  return [...repository.listRefs(GUARD_REF_PREFIX)]
    .filter(([ref]) => !ref.startsWith(`${PULL_GUARD_PREFIX}/`))
    .map(([, commit]) => commit);
}
