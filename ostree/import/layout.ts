/**
 * Which layer of an image plays which part: the first holds the OSTree commit, those up to the label's diff-id hold
 * content objects of that commit, the rest are ordinary container layers on top.
 *
 * An image without the label is an ordinary one: all its layers are container layers, and there is no commit below them.
 *
 * Source: ostree-rs-ext, "ostree-container" format v1 (`ostree.final-diffid`); OCI image spec, config.
 */
import type { Descriptor, ImageConfig, ImageManifest, Platform } from '../../registry/index.ts';
import { ImportError } from './errors.ts';

/** Config label with the diff-id of the last layer that belongs to the OSTree commit. */
export const FINAL_DIFF_ID_LABEL = 'ostree.final-diffid';
/** Config label with the checksum of the encapsulated commit. */
const COMMIT_LABEL = 'ostree.commit';
/** Either label marks an image that can be deployed. */
const BOOTABLE_LABELS = ['ostree.bootable', 'containers.bootc'] as const;
/** Where format v0 (2021) kept its diff-id. */
const LEGACY_DIFF_ID_LABEL = 'ostree.diffid';

/** A layer and the digest of its uncompressed form. */
export interface ImageLayer {
  readonly descriptor: Descriptor;
  readonly diffId: string;
}

export interface ImageLayout {
  /** Checksum of the commit that was encapsulated, if the config names it. */
  readonly commit?: string;
  /** Commit, all directories, and whatever content no chunk holds. An ordinary container image has none. */
  readonly base?: ImageLayer;
  /** Content objects only; independent of each other. */
  readonly chunks: readonly ImageLayer[];
  /** Applied on top of the commit, or of nothing, in this order. */
  readonly derived: readonly ImageLayer[];
}

/**
 * Sorts the layers of `manifest` into their parts. `image` names the image in messages.
 *
 * @throws {ImportError} `NotOstreeImage` or `InvalidImage`.
 */
export function parseLayout(image: string, manifest: ImageManifest, config: ImageConfig): ImageLayout {
  const finalDiffId = finalDiffIdOf(image, config);
  const diffIds = config.rootfs.diff_ids;
  const [first] = manifest.layers;
  if (first === undefined) throw new ImportError('InvalidImage', `${image} has no layers`);
  const finalIndex = finalDiffId === undefined ? -1 : diffIds.indexOf(finalDiffId);
  if (finalDiffId !== undefined && finalIndex < 0) {
    throw new ImportError(
      'InvalidImage',
      `${image} is labelled ${FINAL_DIFF_ID_LABEL} ${finalDiffId}, but has no such layer: it was squashed or rechunked ` +
        'without removing the label; build it again',
    );
  }
  if (diffIds.length !== manifest.layers.length) {
    throw new ImportError(
      'InvalidImage',
      `${image} has ${manifest.layers.length} layers but ${diffIds.length} diff-ids; build it again`,
    );
  }
  const layers = manifest.layers.map((descriptor, index) => ({ descriptor, diffId: diffIds[index] ?? '' }));
  const last = layers[finalIndex];
  if (last === undefined) return { chunks: [], derived: layers };
  const again = layers.find((layer, index) => index > finalIndex && layer.descriptor.digest === last.descriptor.digest);
  if (again !== undefined) {
    throw new ImportError('InvalidImage', `${image} has multiple entries for layer ${again.descriptor.digest}`);
  }
  const commit = labelsOf(config)[COMMIT_LABEL];
  return {
    ...(commit !== undefined && { commit }),
    base: { descriptor: first, diffId: diffIds[0] ?? '' },
    chunks: layers.slice(1, finalIndex + 1),
    derived: layers.slice(finalIndex + 1),
  };
}

/** All layers, in the order of the manifest. */
export function layersOf({ base, chunks, derived }: ImageLayout): readonly ImageLayer[] {
  return [...(base === undefined ? [] : [base]), ...chunks, ...derived];
}

/** The layer with the commit. @throws {ImportError} `NotOstreeImage` for an image without one. */
export function requireBase(image: string, { base }: ImageLayout): ImageLayer {
  if (base !== undefined) return base;
  throw new ImportError(
    'NotOstreeImage',
    `${image} is not an OSTree container image (no ${FINAL_DIFF_ID_LABEL} label); choose an image made by ` +
      '`ostree container encapsulate` or derived from one',
  );
}

/**
 * Checks that the image is an encapsulated commit and nothing else.
 *
 * @throws {ImportError} `NotOstreeImage` when there is none, or layers on top of it.
 */
export function requireBareCommit(image: string, layout: ImageLayout): void {
  requireBase(image, layout);
  const { length } = layout.derived;
  if (length === 0) return;
  throw new ImportError(
    'NotOstreeImage',
    `${image} has ${length} ${length === 1 ? 'layer' : 'layers'} on top of its commit, which would be lost; import it with ` +
      '`treeline image pull`, which merges them',
  );
}

function finalDiffIdOf(image: string, config: ImageConfig): string | undefined {
  const labels = labelsOf(config);
  const finalDiffId = labels[FINAL_DIFF_ID_LABEL];
  if (finalDiffId === undefined && labels[LEGACY_DIFF_ID_LABEL] !== undefined) {
    throw new ImportError(
      'NotOstreeImage',
      `${image} uses the legacy OSTree container format of 2021, which is no longer supported; encapsulate it again`,
    );
  }
  return finalDiffId;
}

/**
 * Checks that the image may become a deployment on a host of `platform`.
 *
 * @throws {ImportError} `NotBootable` or `WrongArchitecture`.
 */
export function requireBootableImage(image: string, config: ImageConfig, platform: Platform): void {
  const labels = labelsOf(config);
  if (!BOOTABLE_LABELS.some((label) => labels[label] !== undefined)) {
    throw new ImportError(
      'NotBootable',
      `${image} does not have the ${BOOTABLE_LABELS[0]} label; choose an image whose commit is marked bootable`,
    );
  }
  if (config.architecture !== platform.architecture) {
    throw new ImportError(
      'WrongArchitecture',
      `${image} has architecture ${config.architecture}; expected ${platform.architecture}`,
    );
  }
}

function labelsOf(config: ImageConfig): Readonly<Record<string, string>> {
  return config.config?.Labels ?? {};
}
