/**
 * Whether an image has room, before anything of it is fetched: what its missing layers need uncompressed, against what is
 * free beside the repository's reserve. It is an estimate; whoever writes the objects still watches the reserve.
 */
import { type Descriptor, type ImageSource, RegistryError } from '../../registry/index.ts';
import { OstreeError } from '../errors.ts';
import { describeReserve, freeBeside } from '../repository/free-space.ts';
import type { Repository } from '../repository/repository.ts';
import { compressionOf } from './compression.ts';
import { dropKeptBlobs, droppableBytes } from './kept-blob-folder.ts';
import type { ImageLayer } from './layout.ts';
import { blobRef } from './store-refs.ts';
import { GZIP_SIZE_BYTES, gzipContentSize, ZSTD_HEADER_BYTES, zstdContentSize } from './uncompressed-size.ts';

/** What a layer is taken to need for each compressed byte when it does not say. Operating systems have about 2. */
const USUAL_RATIO = 2.5;
/** With so much room for each compressed byte nobody has to look. */
const AMPLE_RATIO = 12;
/** With so much, nobody has to look at the smaller layers of an image of which the larger ones are known. */
const ROOMY_RATIO = 6;
/** Layers that are asked for their size at the same time. */
const PARALLEL_LOOKS = 4;

export interface SpaceNeed {
  /** Of the image, for messages. */
  readonly name: string;
  readonly repository: Repository;
  readonly source: ImageSource;
  readonly storedBlobs: ReadonlyMap<string, Descriptor> | undefined;
  /** Bytes of the layer's files that are not in the repository; undefined when that cannot be told. */
  readonly lacking: (layer: ImageLayer, signal: AbortSignal) => Promise<number | undefined>;
  /** Bytes that are to stay free, if that is more than the repository's reserve. */
  readonly minimumFree: number | undefined;
  readonly signal: AbortSignal | undefined;
}

/** Whether there is so much room that layers of so many compressed bytes fit, whatever they are. */
export function hasAmpleSpace({ path, config }: Repository, compressed: number, minimumFree?: number): boolean {
  return freeBeside(path, config.reserve, minimumFree) >= compressed * AMPLE_RATIO;
}

/**
 * Refuses layers that will not fit, after what pulls have kept of blobs and nobody uses has given way: first that of other
 * images, then that of this one, if that is enough. Files are stored in whole blocks, tar streams have headers of a block for each, so the
 * size of the stream stands for both; trees and commits that are made in addition are small against that.
 *
 * @returns the bytes that the image is likely to leave
 * @throws {OstreeError} `NoSpace`, with the numbers
 */
export async function requireSpace(need: SpaceNeed, layers: readonly ImageLayer[]): Promise<number> {
  const { name, repository, signal = new AbortController().signal } = need;
  const { path, config } = repository;
  const free = freeBeside(path, config.reserve, need.minimumFree);
  const neededSum = Math.ceil(await neededByAll(need, layers, free, signal));
  const left = (): number => Math.floor(freeBeside(path, config.reserve, need.minimumFree)) - neededSum;
  if (left() >= 0) return left();
  const own = layers.map(({ descriptor }) => (need.storedBlobs?.get(descriptor.digest) ?? descriptor).digest);
  dropKeptBlobs(repository, own);
  if (left() < 0 && left() + droppableBytes(repository) >= 0) dropKeptBlobs(repository);
  if (left() >= 0) return left();
  // What is kept of this image stays for when there is room, and gives way then.
  const available = left() + neededSum + droppableBytes(repository);
  const ordered = freeBeside(path, config.reserve, need.minimumFree) < freeBeside(path, config.reserve);
  const kept = ordered
    ? `${need.minimumFree} bytes that are to stay`
    : `${describeReserve(config.reserve)} that it keeps`;
  const remedy = ordered ? 'or lower the limit' : 'or lower core.min-free-space-percent in its config';
  throw new OstreeError(
    'NoSpace',
    `${name} needs about ${megabytes(neededSum)} in ${path}, which would leave less than the ${kept} free: ` +
      `${megabytes(Math.max(0, available))} can be written; ` +
      `nothing was fetched. Free ${megabytes(neededSum - available)}, ${remedy}`,
    { space: { neededBytes: neededSum, availableBytes: Math.max(0, available) } },
  );
}

/**
 * What the layers need. The largest are looked at first: often there is room enough for the others then, whatever they are,
 * and a registry far away need not be asked about each.
 */
async function neededByAll(
  need: SpaceNeed,
  layers: readonly ImageLayer[],
  free: number,
  signal: AbortSignal,
): Promise<number> {
  const unknown = layers.toSorted((a, b) => b.descriptor.size - a.descriptor.size);
  let known = 0;
  while (unknown.length > 0) {
    const looked = unknown.splice(0, PARALLEL_LOOKS);
    const sizes = await Promise.all(looked.map((layer) => neededBytes(need, layer, signal)));
    known += sizes.reduce((sum, size) => sum + size, 0);
    const compressed = unknown.reduce((sum, { descriptor }) => sum + descriptor.size, 0);
    if (free - known >= compressed * ROOMY_RATIO) return known + compressed * USUAL_RATIO;
  }
  return known;
}

async function neededBytes(need: SpaceNeed, layer: ImageLayer, signal: AbortSignal): Promise<number> {
  const { repository, storedBlobs } = need;
  const { digest } = layer.descriptor;
  // It is here, but damaged: only what it has lost will be written.
  const commit = repository.findRef(blobRef(digest));
  if (commit !== undefined && repository.hasObject('commit', commit)) return 0;
  const stored = storedBlobs?.get(digest) ?? layer.descriptor;
  // Objects of an archive are compressed, each by itself and about as well as the layer.
  if (repository.config.mode === 'archive') return stored.size;
  const compression = compressionOf(stored.mediaType);
  if (compression === 'none') return stored.size;
  try {
    const lacking = stored === layer.descriptor ? await need.lacking(layer, signal) : undefined;
    const size = lacking ?? (await contentSize(need.source, stored, compression, signal));
    return size ?? stored.size * USUAL_RATIO;
  } catch (error) {
    signal.throwIfAborted();
    // A place that has no parts of blobs may have whole ones; if it does not, the pull says so.
    if (!(error instanceof RegistryError)) throw error;
    return stored.size * USUAL_RATIO;
  }
}

async function contentSize(
  source: ImageSource,
  descriptor: Descriptor,
  compression: 'gzip' | 'zstd',
  signal: AbortSignal,
): Promise<number | undefined> {
  const { size } = descriptor;
  const wanted = compression === 'gzip' ? GZIP_SIZE_BYTES : ZSTD_HEADER_BYTES;
  if (size < wanted) return undefined;
  const pieces: Buffer[] = [];
  const at = compression === 'gzip' ? size - wanted : 0;
  for await (const piece of source.openRange(descriptor, at, wanted, { signal })) pieces.push(piece);
  const bytes = Buffer.concat(pieces);
  return compression === 'gzip' ? gzipContentSize(bytes, size) : zstdContentSize(bytes, size);
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}
