/** The images that a repository holds, as host tools see them too: by ref, or by the commit that is deployed. */
import { formatImageReference, imageVersion, type ImageReference } from '../../registry/index.ts';
import { OstreeError } from '../errors.ts';
import type { Repository } from '../repository/repository.ts';
import { type CachedUpdate, cachedUpdateIn } from '../store/cached-update.ts';
import { ImportError } from './errors.ts';
import { type ImageMetadata, readImageMetadata } from './merge-commit.ts';
import { blobRef, IMAGE_REF_PREFIX, imageOfRef, imageRef } from './store-refs.ts';

export interface StoredImage extends ImageMetadata {
  readonly mergeCommit: string;
  /** The commit that was encapsulated. */
  readonly baseCommit: string;
  readonly version?: string;
  /** A newer image that an update check has seen. */
  readonly cachedUpdate?: CachedUpdate;
}

export interface ListedImage {
  readonly reference: ImageReference;
  readonly mergeCommit: string;
  readonly manifestDigest: string;
  readonly version?: string;
}

/**
 * Reads what an image's merge commit says about it, exactly as host tools do for a deployment.
 *
 * @throws {ImportError} `NotImageCommit` for any other commit, `IncompleteImage` if the base layer's ref is gone.
 */
export function readStoredImage(repository: Repository, mergeCommit: string): StoredImage {
  const image = readImageMetadata(mergeCommit, repository.readCommit(mergeCommit).metadata);
  const [base] = image.manifest.layers;
  if (base === undefined)
    throw new ImportError('NotImageCommit', `commit ${mergeCommit} has a manifest without layers`);
  const ref = blobRef(base.digest);
  const baseCommit = repository.findRef(ref);
  if (baseCommit === undefined) {
    throw new ImportError(
      'IncompleteImage',
      `image commit ${mergeCommit} lacks its base image ref ${ref}; pull it again`,
    );
  }
  const version = imageVersion(image.config);
  const detached = repository.readDetachedMetadata(mergeCommit) ?? [];
  const cachedUpdate = cachedUpdateIn(detached);
  return {
    ...image,
    mergeCommit,
    baseCommit,
    ...(version !== undefined && { version }),
    ...(cachedUpdate !== undefined && { cachedUpdate }),
  };
}

/** All images with a ref, by name. Those that cannot be read are left out: `onProblem` gets a sentence about each. */
export function listImages(
  repository: Repository,
  onProblem: (message: string) => void = () => {},
): readonly ListedImage[] {
  const images: ListedImage[] = [];
  const refs = repository.listRefs(IMAGE_REF_PREFIX, (ref) => onProblem(`image ref ${ref} holds no checksum`));
  for (const [ref, mergeCommit] of refs) {
    try {
      const { manifestDigest, config } = readImageMetadata(mergeCommit, repository.readCommit(mergeCommit).metadata);
      const version = imageVersion(config);
      const reference = imageOfRef(ref);
      images.push({ reference, mergeCommit, manifestDigest, ...(version !== undefined && { version }) });
    } catch (error) {
      if (!(error instanceof Error)) throw error;
      onProblem(`image ref ${ref} is unreadable: ${error.message}`);
    }
  }
  return images.sort((a, b) => (formatImageReference(a.reference) < formatImageReference(b.reference) ? -1 : 1));
}

/**
 * The image that is stored under a reference.
 *
 * @throws {OstreeError} `RefNotFound` when there is none; what `readStoredImage` throws when it cannot be read.
 */
export function requireImage(repository: Repository, image: ImageReference): StoredImage {
  const mergeCommit = repository.readRef(imageRef(image));
  if (mergeCommit !== undefined) return readStoredImage(repository, mergeCommit);
  throw noImage(repository, image);
}

/** The error for a name under which nothing is stored. */
export function noImage(repository: Repository, ...images: readonly ImageReference[]): OstreeError {
  const names = images.map((image) => formatImageReference(image)).join(', ');
  return new OstreeError(
    'RefNotFound',
    `${repository.path} holds no image ${names}; list those that it holds with \`treeline image list\``,
  );
}

/** The image under a ref, or undefined when there is none or it cannot be used: then it is as good as absent. */
export function findImage(
  repository: Repository,
  ref: string,
  onProblem: (message: string) => void = () => {},
): StoredImage | undefined {
  try {
    const mergeCommit = repository.readRef(ref);
    if (mergeCommit === undefined || repository.isPartial(mergeCommit)) return undefined;
    return readStoredImage(repository, mergeCommit);
  } catch (error) {
    if (!(error instanceof ImportError || (error instanceof OstreeError && error.code !== 'Io'))) throw error;
    onProblem(`the image that is stored under ${ref} cannot be read, and counts as absent: ${error.message}`);
    return undefined;
  }
}
