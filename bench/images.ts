/**
 * The images of the import benchmark: one operating system, encapsulated by the peer as a single layer and in chunks,
 * an update of the chunked one in which only the kernel changed, and one derived from it. Made once and kept in the cache directory as the
 * storage of a registry, from which a registry then serves them.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { deriveImage } from '../testbed/derived-image.ts';
import { startRegistry } from '../testbed/registry.ts';
import { cacheKey, ensureCacheFolder } from '../tools/setup/cache.ts';
import { derivedLayers } from './derived-layers.ts';
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
/** With the one of the kernel and the peer's own, of the commit and the directories, 60 layers. */
const CONTENT_CHUNKS = 58;
const KERNEL_PREFIX = '/usr/lib/modules/';

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
  await run('ostree', [`--repo=${repository}`, 'init', '--mode=bare']);
  await commit(repository, tree, 'v1');
  writeKernel(tree, kernelBytes(shape), '6.1.0-2');
  await commit(repository, tree, 'v2');
  await rm(tree, { recursive: true });

  await using registry = await startRegistry({ storage: join(work, 'registry') });
  const publish = async (branch: string, image: string, contentmeta?: string): Promise<void> => {
    say(`encapsulating ${image}`);
    const layout = join(work, `layout-${branch}`);
    const meta = contentmeta === undefined ? [] : ['--contentmeta', contentmeta];
    await run(peer, ['container', 'encapsulate', '--repo', repository, ...meta, branch, `oci:${layout}:image`]);
    const destination = `docker://${registry.host}/${image}`;
    await run('skopeo', ['copy', '--quiet', '--dest-tls-verify=false', `oci:${layout}:image`, destination]);
    await rm(layout, { recursive: true });
  };
  await publish('v1', IMAGES.single);
  await publish('v1', IMAGES.chunked, await writeContentMeta(repository, 'v1', work));
  await publish('v2', IMAGES.update, await writeContentMeta(repository, 'v2', work));
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

async function commit(repository: string, tree: string, branch: string): Promise<void> {
  const metadata = ['--add-metadata=ostree.bootable=true', `--add-metadata-string=version=${branch}`];
  const fixed = ['--timestamp=@1700000000', '--no-bindings', '--owner-uid=0', '--owner-gid=0', '--no-xattrs'];
  await run('ostree', [
    `--repo=${repository}`,
    'commit',
    `--branch=${branch}`,
    `--tree=dir=${tree}`,
    ...fixed,
    ...metadata,
  ]);
}

/** Which chunk each object belongs to: the kernel has its own, packages are spread over the rest by their directory. */
async function writeContentMeta(repository: string, branch: string, folder: string): Promise<string> {
  // The peer panics at a chunk without objects, so only those are named that have any.
  const layers: Record<string, string> = {};
  const mapping: Record<string, string> = {};
  const lister = spawn('ostree', [`--repo=${repository}`, 'ls', '-R', '-C', branch], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  for await (const line of createInterface({ input: lister.stdout })) {
    const match = /^[-l]\S+ \d+ \d+ +\d+ ([0-9a-f]{64}) (\/.*?)(?: -> .*)?$/.exec(line);
    if (match?.[1] === undefined || match[2] === undefined) continue;
    const chunk = match[2].startsWith(KERNEL_PREFIX) ? 'kernel' : `chunk-${chunkOf(match[2])}`;
    mapping[match[1]] = chunk;
    layers[chunk] ??= chunk;
  }
  const path = join(folder, `contentmeta-${branch}.json`);
  await writeFile(path, JSON.stringify({ version: 1, created: '2023-11-14T22:13:20Z', layers, mapping }));
  return path;
}

function chunkOf(path: string): number {
  const name = /package-(\d+)/.exec(path)?.[1] ?? '0';
  return Number(name) % CONTENT_CHUNKS;
}

async function run(command: string, parameters: readonly string[]): Promise<void> {
  const child = spawn(command, parameters, { stdio: ['ignore', 'ignore', 'inherit'] });
  const [code] = (await once(child, 'close')) as [number | null];
  if (code !== 0) throw new Error(`${command} ${parameters.slice(0, 3).join(' ')} ended with ${code}`);
}

async function exists(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined)) !== undefined;
}
