/** Makes a container image of a commit: the inverse of an import, as `ostree container encapsulate` does it. */
import { createHash } from 'node:crypto';
import { MEDIA_TYPE, type Descriptor, type ImageDestination } from '../../registry/index.ts';
import type { Chunk } from '../chunking/chunk.ts';
import { COMPONENT_SEPARATOR, COMPONENTS_ANNOTATION } from '../chunking/previous-layout.ts';
import { canonicalJson } from '../import/canonical-json.ts';
import type { Repository } from '../repository/repository.ts';
import { requireCover } from './chunk-cover.ts';
import { chunkLayer, type FormatVersion } from './chunk-layer.ts';
import { type CommitContent, contentOfCommit } from './commit-content.ts';
import { commitLayer } from './commit-layer.ts';
import { compressLayer, type Compression } from './compression/compressed-layer.ts';
import { CompressionPool } from './compression/compression-pool.ts';
import { inOrder } from './in-order.ts';
import { once } from './once.ts';
import {
  imageConfig,
  imageLabels,
  imageManifest,
  type ImageMetadataOptions,
  type LayerSummary,
} from './image-metadata.ts';
import { type EncapsulateProgress, WriteProgress } from './write-progress.ts';

/** One is written to the destination while others are compressed; each is a file until then. */
const LAYERS_AT_ONCE = 3;

export interface EncapsulateOptions extends ImageMetadataOptions {
  readonly repository: Repository;
  /** A ref or a checksum. */
  readonly rev: string;
  readonly destination: ImageDestination;
  /** One layer each, in this order, behind the one with the commit itself. Default: a single layer with everything. */
  readonly chunks?: readonly Chunk[] | undefined;
  /** Default: 1. */
  readonly formatVersion?: FormatVersion | undefined;
  /** `fast` trades size for time; of `zstd:chunked` layers importers fetch only the files that they lack. Default: `default`. */
  readonly compression?: Compression;
  /** Where compressed layers are kept until they have been written to the destination. Default: `/var/tmp`. */
  readonly temporaryDirectory?: string;
  /** That compress. Default: one for each CPU. The digest does not depend on it. */
  readonly threads?: number;
  readonly onProgress?: (progress: EncapsulateProgress) => void;
  readonly signal?: AbortSignal;
}

export interface EncapsulatedLayer {
  /** `sha256:…`, compressed. */
  readonly digest: string;
  /** Compressed bytes. */
  readonly size: number;
  /** What it holds. */
  readonly name?: string;
}

export interface EncapsulatedImage {
  readonly commit: string;
  /** `sha256:…` */
  readonly manifestDigest: string;
  /** Of the last layer. */
  readonly diffId: string;
  /** Compressed bytes of all layers. */
  readonly size: number;
  readonly layers: readonly EncapsulatedLayer[];
}

/** A layer that is yet to be written. */
interface PlannedLayer {
  readonly tar: AsyncIterable<Buffer>;
  readonly name?: string;
  readonly annotations?: Readonly<Record<string, string>>;
}

/**
 * Writes the commit as an image. The same commit and options always give the same digest. Throws an OstreeError if the
 * commit cannot be read or `chunks` are not what makes it up, and what the destination throws.
 */
export async function encapsulate(options: EncapsulateOptions): Promise<EncapsulatedImage> {
  const { repository, destination, chunks, signal } = options;
  const checksum = repository.resolve(options.rev);
  const commit = repository.readCommit(checksum);
  // What the options get wrong should show before minutes of compression.
  imageLabels(checksum, commit, '', options);
  const progress = new WriteProgress(1 + (chunks?.length ?? 0), options.onProgress);
  const planned =
    chunks === undefined
      ? [{ tar: commitLayer(repository, checksum, { onProgress: (objects) => progress.objects(objects) }) }]
      : chunkedLayers(checksum, chunks, options, progress);
  await using pool = new CompressionPool(options.threads);
  const layers = await inOrder(planned, LAYERS_AT_ONCE, (layer) => writeLayer(layer, pool, options, progress));

  const diffId = layers.at(-1)?.diffId ?? '';
  const labels = imageLabels(checksum, commit, diffId, options);
  const config = Buffer.from(canonicalJson(imageConfig(checksum, commit, layers, labels, options)));
  const configDescriptor: Descriptor = {
    mediaType: MEDIA_TYPE.config,
    digest: `sha256:${createHash('sha256').update(config).digest('hex')}`,
    size: config.length,
  };
  await destination.putBlob(configDescriptor, () => once(config), signal);
  const manifestDigest = await destination.putManifest(imageManifest(configDescriptor, layers, labels), signal);
  return {
    commit: checksum,
    manifestDigest,
    diffId,
    size: layers.reduce((sum, { descriptor }) => sum + descriptor.size, 0),
    layers: layers.map(({ descriptor: { digest, size }, createdBy }) => ({
      digest,
      size,
      ...(createdBy !== undefined && { name: createdBy }),
    })),
  };
}

function chunkedLayers(
  checksum: string,
  chunks: readonly Chunk[],
  { repository, formatVersion }: EncapsulateOptions,
  progress: WriteProgress,
): PlannedLayer[] {
  const content: CommitContent = contentOfCommit(repository, checksum);
  requireCover(checksum, content, chunks);
  const root = repository.readCommit(checksum);
  let objectsDone = 0;
  const report = (): void => progress.objects({ objectsDone: objectsDone++, objectsTotal: content.size });
  report();
  return [
    { tar: commitLayer(repository, checksum, { elsewhere: new Set(content.keys()) }) },
    ...chunks.map(({ name, components, objects }) => ({
      tar: chunkLayer(repository, objects, content, { formatVersion, root, onObject: report }),
      name,
      annotations: { [COMPONENTS_ANNOTATION]: [...components].sort().join(COMPONENT_SEPARATOR) },
    })),
  ];
}

async function writeLayer(
  planned: PlannedLayer,
  pool: CompressionPool,
  options: EncapsulateOptions,
  progress: WriteProgress,
): Promise<LayerSummary> {
  const { destination, compression = 'default', temporaryDirectory: directory, signal } = options;
  const { tar, name, annotations } = planned;
  await using layer = await compressLayer(tar, { compression, pool, directory, signal });
  const descriptor: Descriptor = {
    mediaType: layer.mediaType,
    digest: layer.digest,
    size: layer.size,
    ...((annotations ?? layer.annotations) !== undefined && { annotations: { ...layer.annotations, ...annotations } }),
  };
  const content = progress.counted(() => layer.content());
  await destination.putBlob(descriptor, content, signal);
  progress.layerDone();
  return { descriptor, diffId: layer.diffId, ...(name !== undefined && { createdBy: name }) };
}
