/**
 * The refs of the container store inside an OSTree repository, named so that bootc, rpm-ostree and we find each
 * other's images and layers.
 *
 * Source: ostree-rs-ext, container store: `ostree/container/{blob,image,baseimage}`.
 */
import { formatImageReference, type ImageReference, parseImageReference, RegistryError } from '../../registry/index.ts';
import { OstreeError } from '../errors.ts';
import { escapeRefPath, unescapeRefPath } from '../repository/ref-name.ts';

export const BLOB_REF_PREFIX = 'ostree/container/blob';
export const IMAGE_REF_PREFIX = 'ostree/container/image';
/** Our own corner of `baseimage`, which other tools' clean-up respects and leaves alone. */
export const GUARD_REF_PREFIX = 'ostree/container/baseimage/treeline';
/** Guards of pulls that are under way, or were interrupted. */
export const PULL_GUARD_PREFIX = `${GUARD_REF_PREFIX}/pulling`;
/** Guards of what a process is about to deploy, one for each. */
export const DEPLOYMENT_GUARD_PREFIX = `${GUARD_REF_PREFIX}/deploy-`;

/** The ref of a layer commit. @param digest of the blob, `sha256:…` */
export function blobRef(digest: string): string {
  return `${BLOB_REF_PREFIX}/${escapeRefPath(digest)}`;
}

/** The ref of an image's merge commit. */
export function imageRef(image: ImageReference): string {
  return `${IMAGE_REF_PREFIX}/${escapeRefPath(formatImageReference(image))}`;
}

/** The image that a ref under `ostree/container/image` stands for. */
export function imageOfRef(ref: string): ImageReference {
  return parseImageReference(unescapeRefPath(ref.slice(IMAGE_REF_PREFIX.length + 1)));
}

/** The same; undefined for a ref there that somebody made by hand, and that stands for no image. */
export function tryImageOfRef(ref: string): ImageReference | undefined {
  try {
    return imageOfRef(ref);
  } catch (error) {
    if (error instanceof RegistryError || error instanceof OstreeError) return undefined;
    throw error;
  }
}

/** The ref that protects a commit for a purpose of ours. @param name a ref path segment, such as `pending` */
export function guardRef(name: string): string {
  return `${GUARD_REF_PREFIX}/${escapeRefPath(name)}`;
}

/** The ref that keeps the layers of an image while it is being pulled. @param digest of its manifest */
export function pullGuardRef(digest: string): string {
  return `${PULL_GUARD_PREFIX}/${escapeRefPath(digest)}`;
}
