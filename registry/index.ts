/** The public surface of `registry/`: images by reference, read and written over any supported transport. */
export { canonicalJson } from './canonical-json.ts';
export { type Credential, type Credentials, parseDockerConfig } from './credentials.ts';
export { openImageDestination } from './destination.ts';
export { digestOf, isDigest } from './digest.ts';
export { RegistryError, type RegistryErrorCode } from './errors.ts';
export { formatImageReference, type ImageReference, parseImageReference, type Transport } from './image-reference.ts';
export type { BlobReadOptions, ImageDestination, ImageSource, Platform, ResolvedImage } from './image-source.ts';
export {
  type Descriptor,
  type HistoryEntry,
  type ImageConfig,
  type ImageIndex,
  type ImageManifest,
  MEDIA_TYPE,
} from './oci.ts';
export { type Clock, type RegistryOptions, type RetryPolicy } from './options.ts';
export {
  formatOstreeImageReference,
  type OstreeImageReference,
  parseAnyImageReference,
  parseOstreeImageReference,
  type SignatureSource,
} from './ostree-reference.ts';
export { formatRegistryName, parseRegistryName, type RegistryName } from './registry-name.ts';
export { openImageSource } from './source.ts';
export { imageVersion, type PlatformImage, type ResolvedTag, resolveTag } from './tag.ts';
