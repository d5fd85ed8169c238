/** Makes a container image of a commit: the inverse of an import, as `ostree container encapsulate` does it. */
import { createHash } from 'node:crypto';
import { MEDIA_TYPE, type Descriptor, type ImageDestination } from '../../registry/index.ts';
import { canonicalJson } from '../import/canonical-json.ts';
import type { Repository } from '../repository/repository.ts';
import { commitLayer, type LayerProgress } from './commit-layer.ts';
import { compressLayer, type Compression, TEMPORARY_DIRECTORY } from './compressed-layer.ts';
import { once } from './once.ts';
import { imageConfig, imageLabels, imageManifest, type ImageMetadataOptions } from './image-metadata.ts';

export interface EncapsulateOptions extends ImageMetadataOptions {
  readonly repository: Repository;
  /** A ref or a checksum. */
  readonly rev: string;
  readonly destination: ImageDestination;
  /** `fast` trades size for time. Default: `default`. */
  readonly compression?: Compression;
  /** Where the compressed layer is kept until it has been written to the destination. Default: `/var/tmp`. */
  readonly temporaryDirectory?: string;
  readonly onProgress?: (progress: LayerProgress) => void;
  readonly signal?: AbortSignal;
}

export interface EncapsulatedImage {
  readonly commit: string;
  /** `sha256:…` */
  readonly manifestDigest: string;
  /** Of the layer. */
  readonly diffId: string;
  /** Compressed bytes of the layer. */
  readonly size: number;
}

/**
 * Writes the commit as an image with a single layer. The same commit and options always give the same digest.
 * Throws an OstreeError if the commit cannot be read, and what the destination throws.
 */
export async function encapsulate(options: EncapsulateOptions): Promise<EncapsulatedImage> {
  const { repository, destination, signal } = options;
  const checksum = repository.resolve(options.rev);
  const commit = repository.readCommit(checksum);
  // What the options get wrong should show before minutes of compression.
  imageLabels(checksum, commit, '', options);
  const tar = commitLayer(repository, checksum, { onProgress: options.onProgress });
  const directory = options.temporaryDirectory ?? TEMPORARY_DIRECTORY;
  await using layer = await compressLayer(tar, options.compression ?? 'default', directory, signal);

  const labels = imageLabels(checksum, commit, layer.diffId, options);
  const descriptor: Descriptor = { mediaType: MEDIA_TYPE.layerGzip, digest: layer.digest, size: layer.size };
  const summary = { descriptor, diffId: layer.diffId };
  const config = Buffer.from(canonicalJson(imageConfig(checksum, commit, summary, labels, options)));
  const configDescriptor: Descriptor = {
    mediaType: MEDIA_TYPE.config,
    digest: `sha256:${createHash('sha256').update(config).digest('hex')}`,
    size: config.length,
  };
  await destination.putBlob(descriptor, () => layer.content(), signal);
  await destination.putBlob(configDescriptor, () => once(config), signal);
  const manifestDigest = await destination.putManifest(imageManifest(configDescriptor, summary, labels), signal);
  return { commit: checksum, manifestDigest, diffId: layer.diffId, size: layer.size };
}
