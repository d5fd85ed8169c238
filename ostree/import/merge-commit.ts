/**
 * The merge commit: the one commit of an image that gets deployed. It carries the image's manifest and config, by
 * which host tools recognise what a deployment was made from.
 *
 * Source: ostree-rs-ext, container store: merge commit and `query_image_commit`.
 */
import { canonicalJson, type ImageConfig, type ImageManifest } from '../../registry/index.ts';
import { lookupString, variant, type VariantDictionary } from '../gvariant/value.ts';
import type { Commit } from '../objects/commit.ts';
import { ImportError } from './errors.ts';

/** The release of the reference importer whose commits ours are equal to, byte for byte. */
export const IMPORTER_VERSION = '0.15.3';
export const IMPORTER_VERSION_KEY = 'ostree.importer.version';

const CONFIG_KEY = 'ostree.container.image-config';
const MANIFEST_KEY = 'ostree.manifest';
const MANIFEST_DIGEST_KEY = 'ostree.manifest-digest';
const CREATED_ANNOTATION = 'org.opencontainers.image.created';

export interface ImageMetadata {
  /** Of the original bytes of the per-platform manifest. */
  readonly manifestDigest: string;
  readonly manifest: ImageManifest;
  readonly config: ImageConfig;
}

/** Everything of the merge commit: equal for equal images, whenever and wherever they are imported. */
export function mergeCommit(
  image: ImageMetadata,
  base: string | undefined,
  root: { readonly dirtree: string; readonly dirmeta: string },
  now: Date,
): Commit {
  return {
    // Sorted by key: the order is part of the checksum.
    metadata: [
      [CONFIG_KEY, variant.string(canonicalJson(image.config))],
      [IMPORTER_VERSION_KEY, variant.string(IMPORTER_VERSION)],
      [MANIFEST_KEY, variant.string(canonicalJson(image.manifest))],
      [MANIFEST_DIGEST_KEY, variant.string(image.manifestDigest)],
    ],
    ...(base !== undefined && { parent: base }),
    subject: '',
    body: '',
    timestamp: Math.floor((createdTime(image) ?? now.getTime()) / 1000),
    dirtree: root.dirtree,
    dirmeta: root.dirmeta,
  };
}

/** Whether a commit is that of a derived layer, whichever importer made it. */
export function isDerivedLayer(metadata: VariantDictionary): boolean {
  return lookupString(metadata, IMPORTER_VERSION_KEY) !== undefined && !isImageCommit(metadata);
}

/** Whether a commit was made from a container image at all. */
export function isImageCommit(metadata: VariantDictionary): boolean {
  return lookupString(metadata, MANIFEST_DIGEST_KEY) !== undefined;
}

/**
 * Reads back what `mergeCommit`, or another importer, stored.
 *
 * @throws {ImportError} `NotImageCommit` when `checksum` has no manifest or one that cannot be read.
 */
export function readImageMetadata(checksum: string, metadata: VariantDictionary): ImageMetadata {
  const manifestDigest = lookupString(metadata, MANIFEST_DIGEST_KEY);
  const manifest = lookupString(metadata, MANIFEST_KEY);
  if (manifestDigest === undefined || manifest === undefined) {
    throw new ImportError(
      'NotImageCommit',
      `commit ${checksum} was not imported from a container image (no ${MANIFEST_KEY} metadata)`,
    );
  }
  const config = lookupString(metadata, CONFIG_KEY);
  return {
    manifestDigest,
    manifest: parseStored(checksum, MANIFEST_KEY, manifest) as ImageManifest,
    // Importers before 2022 stored no config, or the text "null".
    config:
      (config === undefined ? null : (parseStored(checksum, CONFIG_KEY, config) as ImageConfig | null)) ?? EMPTY_CONFIG,
  };
}

const EMPTY_CONFIG: ImageConfig = { architecture: '', os: 'linux', rootfs: { type: 'layers', diff_ids: [] } };

function parseStored(checksum: string, key: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new ImportError('NotImageCommit', `commit ${checksum} has metadata ${key} that is not JSON`, {
      cause: error,
    });
  }
}

/** Milliseconds since the epoch, or undefined when the image does not say or says something else than a time. */
function createdTime(image: ImageMetadata): number | undefined {
  for (const text of [image.manifest.annotations?.[CREATED_ANNOTATION], image.config.created]) {
    const time = text === undefined ? Number.NaN : Date.parse(text);
    if (Number.isFinite(time) && time >= 0) return time;
  }
  return undefined;
}
