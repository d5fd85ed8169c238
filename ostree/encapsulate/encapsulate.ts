/** Makes a container image of a commit: the inverse of an import, as `ostree container encapsulate` does it. */
import { createHash } from 'node:crypto';
import { canonicalJson, type Descriptor, type ImageDestination, MEDIA_TYPE, once } from '../../registry/index.ts';
import type { Chunk } from '../chunking/chunk.ts';
import { COMPONENT_SEPARATOR, COMPONENTS_ANNOTATION } from '../chunking/previous-layout.ts';
import { templatesAnnotation } from '../chunking/templates.ts';
import type { Repository } from '../repository/repository.ts';
import { requireCover } from './chunk-cover.ts';
import { chunkLayer, type FormatVersion } from './chunk-layer.ts';
import { type CommitContent, contentOfCommit } from './commit-content.ts';
import { commitLayer } from './commit-layer.ts';
import { compressLayer, type Compression, diffIdOf } from './compression/compressed-layer.ts';
import { CompressionPool } from './compression/compression-pool.ts';
import { type EarlierImage, EarlierLayers } from './earlier-layers.ts';
import { inOrder } from './in-order.ts';
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
  /** Its layers are taken over as they are where they are the same. The digest does not depend on it. */
  readonly earlier?: EarlierImage | undefined;
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
  /** Whether it was taken over from the earlier image. */
  readonly reused: boolean;
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
  /** Streams it, as often as wanted; `onObject` is told of each object. */
  readonly tar: (onObject?: () => void) => AsyncIterable<Buffer>;
  readonly objects: number;
  readonly name?: string;
  readonly annotations?: Readonly<Record<string, string>>;
}

type WrittenLayer = LayerSummary & Pick<EncapsulatedLayer, 'reused'>;

/** What the layers of one image share. */
interface Writing {
  readonly options: EncapsulateOptions;
  readonly pool: CompressionPool;
  readonly earlier: EarlierLayers | undefined;
  readonly progress: WriteProgress;
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
  const content = contentOfCommit(repository, checksum);
  const planned =
    chunks === undefined ? [soleLayer(checksum, content, options)] : chunkedLayers(checksum, chunks, content, options);
  const earlier = options.earlier && new EarlierLayers(options.earlier, options.compression ?? 'default');
  const progress = new WriteProgress({ layers: planned.length, objects: content.size }, options.onProgress);
  await using pool = new CompressionPool(options.threads);
  const writing: Writing = { options, pool, earlier, progress };
  const layers = await inOrder(planned, LAYERS_AT_ONCE, (layer) => writeLayer(layer, writing));

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
    layers: layers.map(({ descriptor: { digest, size }, createdBy, reused }) => ({
      digest,
      size,
      reused,
      ...(createdBy !== undefined && { name: createdBy }),
    })),
  };
}

function soleLayer(checksum: string, content: CommitContent, { repository }: EncapsulateOptions): PlannedLayer {
  return { tar: (onObject) => commitLayer(repository, checksum, { onObject }), objects: content.size };
}

function chunkedLayers(
  checksum: string,
  chunks: readonly Chunk[],
  content: CommitContent,
  { repository, formatVersion }: EncapsulateOptions,
): PlannedLayer[] {
  requireCover(checksum, content, chunks);
  const root = repository.readCommit(checksum);
  const elsewhere = new Set(content.keys());
  return [
    { tar: () => commitLayer(repository, checksum, { elsewhere }), objects: 0 },
    ...chunks.map(({ name, components, objects, templates = [] }) => ({
      tar: (onObject?: () => void) => chunkLayer(repository, objects, content, { formatVersion, root, onObject }),
      objects: objects.length,
      name,
      annotations: {
        [COMPONENTS_ANNOTATION]: [...components].sort().join(COMPONENT_SEPARATOR),
        ...templatesAnnotation(templates),
      },
    })),
  ];
}

async function writeLayer(planned: PlannedLayer, writing: Writing): Promise<WrittenLayer> {
  const { options, pool, progress } = writing;
  const { destination, compression = 'default', temporaryDirectory: directory, signal } = options;
  const reused = await reuseLayer(planned, writing);
  if (reused !== undefined) return reused;
  const tar = planned.tar(() => progress.objects(1));
  await using layer = await compressLayer(tar, { compression, pool, directory, signal });
  const { mediaType, digest, size, annotations } = layer;
  const descriptor: Descriptor = { mediaType, digest, size, annotations: { ...annotations, ...planned.annotations } };
  const content = progress.counted(() => layer.content());
  await destination.putBlob(descriptor, content, signal);
  progress.layerDone();
  return { ...summaryOf(planned, descriptor, layer.diffId), reused: false };
}

/** Undefined: the earlier image has no such layer, or cannot give it any more. */
async function reuseLayer(planned: PlannedLayer, writing: Writing): Promise<WrittenLayer | undefined> {
  const { options, earlier, progress } = writing;
  const { destination, signal } = options;
  if (earlier?.mayHave(planned.annotations) !== true) return undefined;
  const diffId = await diffIdOf(planned.tar(), signal);
  const found = earlier.find(diffId);
  if (found === undefined) return undefined;
  const isPut = await earlier.put(found, destination, { signal, counted: (content) => progress.counted(content) });
  if (!isPut) return undefined;
  progress.objects(planned.objects);
  progress.layerDone();
  const descriptor: Descriptor = { ...found, annotations: { ...found.annotations, ...planned.annotations } };
  return { ...summaryOf(planned, descriptor, diffId), reused: true };
}

function summaryOf({ name }: PlannedLayer, descriptor: Descriptor, diffId: string): LayerSummary {
  return { descriptor, diffId, ...(name !== undefined && { createdBy: name }) };
}
