/**
 * The images of the import benchmark: one operating system, encapsulated by the peer as a single layer and in chunks,
 * an update of the chunked one in which only the kernel changed, and one derived from it. Made once and kept in the
 * cache directory as the storage of a registry, from which a registry then serves them.
 */
import { mkdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { deriveImage } from '../testbed/derived-image.ts';
import { startRegistry } from '../testbed/registry.ts';
import { cacheKey, ensureCacheFolder } from '../tools/setup/cache.ts';
import { derivedLayers } from './derived-layers.ts';
import { commit, encapsulate, initialiseRepository } from './encapsulation.ts';
import { kernelBytes, type TreeShape, writeKernel, writeTree } from './os-tree.ts';

/** Name and tag of each image in the registry. */
export const IMAGES = {
  single: 'bench/single:1',
  chunked: 'bench/chunked:1',
  update: 'bench/chunked:2',
  derived: 'bench/chunked:derived',
} as const;

export interface ImageSet {
  /** Storage of a registry with all images in it. */
  readonly storage: string;
}

/** Raise it when the generator or the layout of the images changes: old caches are then no longer used. */
const GENERATION = '5';

/** Makes the images unless they are there. Takes minutes the first time: gzip of everything, three times. */
export async function ensureImages(peer: string, shape: TreeShape, say: (text: string) => void): Promise<ImageSet> {
  const key = cacheKey([GENERATION, String(shape.files), String(shape.size)]);
  const folder = await ensureCacheFolder('bench-import', key);
  const storage = join(folder, 'registry');
  if (await exists(join(folder, 'complete'))) return { storage };
  await rm(folder, { recursive: true, force: true });
  const work = join(folder, 'work');
  await mkdir(work, { recursive: true });
  const repository = join(work, 'repo');
  const tree = join(work, 'tree');
  say(`making an operating system of ${shape.files} files and ${Math.round(shape.size / 1e6)} MB`);
  await mkdir(tree);
  writeTree(tree, shape);
  await initialiseRepository(repository);
  await commit(repository, tree, 'v1');
  writeKernel(tree, kernelBytes(shape), '6.1.0-2');
  await commit(repository, tree, 'v2');
  await rm(tree, { recursive: true });

  await using registry = await startRegistry({ storage: join(work, 'registry') });
  const { host } = registry;
  for (const [branch, image] of [
    ['v1', IMAGES.single],
    ['v1', IMAGES.chunked],
    ['v2', IMAGES.update],
  ] as const) {
    say(`encapsulating ${image}`);
    await encapsulate({ peer, repository, branch, host, image, chunked: image !== IMAGES.single, work });
  }
  await derive(registry.url, shape);
  await registry.stop();
  await rename(join(work, 'registry'), storage);
  await rm(work, { recursive: true });
  await writeFile(join(folder, 'complete'), '');
  return { storage };
}

/** The derived layers on the chunked image, one after the other, as a builder's steps. */
async function derive(registryUrl: string, shape: TreeShape): Promise<void> {
  const [repository = '', base = ''] = IMAGES.chunked.split(':');
  const [, last = ''] = IMAGES.derived.split(':');
  const layers = derivedLayers(shape);
  for (const [index, { createdBy, files }] of layers.entries()) {
    const baseTag = index === 0 ? base : `step-${index}`;
    const tag = index === layers.length - 1 ? last : `step-${index + 1}`;
    await deriveImage({ registryUrl, repository, baseTag, tag, files, labels: {}, createdBy });
  }
}

async function exists(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined)) !== undefined;
}
