/**
 * Copies an encapsulated image and replaces what is attached to its commit, such as signatures, on the way. Only the first
 * layer changes; the others are copied as they are.
 *
 * Source: ostree-rs-ext, container: `replace-detached-metadata`.
 */
import { createHash } from 'node:crypto';
import {
  canonicalJson,
  type Descriptor,
  type ImageDestination,
  type ImageSource,
  MEDIA_TYPE,
  once,
  type Platform,
} from '../../registry/index.ts';
import { OstreeError } from '../errors.ts';
import { compressionOf } from '../import/compression.ts';
import { readLayerTar } from '../import/layer-tar.ts';
import { FINAL_DIFF_ID_LABEL, parseLayout, requireBase } from '../import/layout.ts';
import { decodeDictionary } from '../objects/commit.ts';
import { compressLayer, withoutFormat } from './compression/compressed-layer.ts';
import { CompressionPool } from './compression/compression-pool.ts';
import { replaceMetadata } from './replaced-metadata.ts';

export interface ReplaceMetadataOptions {
  readonly source: ImageSource;
  /** Of the source, for messages. */
  readonly name: string;
  readonly destination: ImageDestination;
  readonly platform: Platform;
  /** Bytes of `a{sv}`; undefined removes what there is. */
  readonly metadata?: Buffer | undefined;
  readonly signal?: AbortSignal;
}

/**
 * Returns the digest of the new manifest.
 *
 * @throws {OstreeError} `InvalidData` when `metadata` is no dictionary; ImportError for an image that is not encapsulated;
 *   RegistryError when it cannot be read or written.
 */
export async function replaceDetachedMetadata(options: ReplaceMetadataOptions): Promise<string> {
  const { source, name, destination, platform, metadata, signal } = options;
  if (metadata !== undefined) requireDictionary(metadata);
  const { manifest, config, storedBlobs } = await source.resolve(platform, signal);
  const base = requireBase(name, parseLayout(name, manifest, config));
  const reading = signal === undefined ? {} : { signal };
  if (storedBlobs !== undefined) {
    throw new OstreeError(
      'InvalidData',
      `${name} does not hold the layers in the form that its manifest names; copy it to an oci: directory first`,
    );
  }
  const tar = readLayerTar({
    digest: base.descriptor.digest,
    diffId: base.diffId,
    compression: compressionOf(base.descriptor.mediaType),
    bytes: source.openBlob(base.descriptor, reading),
  });
  await using pool = new CompressionPool();
  await using layer = await compressLayer(replaceMetadata(tar, metadata), { compression: 'default', pool, signal });
  const { annotations, ...original } = base.descriptor;
  const descriptor: Descriptor = {
    ...original,
    mediaType: layer.mediaType,
    digest: layer.digest,
    size: layer.size,
    annotations: { ...withoutFormat(annotations), ...layer.annotations },
  };
  await destination.putBlob(descriptor, () => layer.content(), signal);
  const others = manifest.layers.slice(1);
  for (const other of others) await destination.putBlob(other, () => source.openBlob(other, reading), signal);

  const relabel = (labels: Readonly<Record<string, string>>) =>
    labels[FINAL_DIFF_ID_LABEL] === base.diffId ? { ...labels, [FINAL_DIFF_ID_LABEL]: layer.diffId } : labels;
  const bytes = Buffer.from(
    canonicalJson({
      ...config,
      config: { ...config.config, Labels: relabel(config.config?.Labels ?? {}) },
      rootfs: { ...config.rootfs, diff_ids: [layer.diffId, ...config.rootfs.diff_ids.slice(1)] },
    }),
  );
  const configDescriptor: Descriptor = {
    mediaType: MEDIA_TYPE.config,
    digest: `sha256:${createHash('sha256').update(bytes).digest('hex')}`,
    size: bytes.length,
  };
  await destination.putBlob(configDescriptor, () => once(bytes), signal);
  return await destination.putManifest(
    {
      ...manifest,
      mediaType: MEDIA_TYPE.manifest,
      config: configDescriptor,
      layers: [descriptor, ...others],
      ...(manifest.annotations !== undefined && { annotations: relabel(manifest.annotations) }),
    },
    signal,
  );
}

function requireDictionary(metadata: Buffer): void {
  try {
    decodeDictionary(metadata);
  } catch (cause) {
    if (!(cause instanceof OstreeError)) throw cause;
    throw new OstreeError(
      'InvalidData',
      `the new metadata is not a GVariant dictionary a{sv}, as .commitmeta files are: ${cause.message}`,
      { cause },
    );
  }
}
