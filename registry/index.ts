/** The public surface of `registry/`: images by reference, read and written over any supported transport. */
export { attachArtifact } from './artifact.ts';
export { canonicalJson } from './canonical-json.ts';
export { type Credentials, parseDockerConfig } from './credentials.ts';
export { openImageDestination } from './destination.ts';
export { DiscardingDestination } from './discarding-destination.ts';
export { digestOf } from './digest.ts';
export { RegistryError, type RegistryErrorCode } from './errors.ts';
export { FETCH_WORKER, Fetcher } from './fetcher/fetcher.ts';
export { formatImageReference, type ImageReference, parseImageReference, type Transport } from './image-reference.ts';
export { isInstalled } from './image-tool.ts';
export { readHostConfiguration } from './host-configuration.ts';
export type { ImageDestination, ImageSource, Platform, ResolvedImage } from './image-source.ts';
export { mirror, type MirrorReport } from './mirror/mirror.ts';
export { parsePlatform } from './mirror/platform-filter.ts';
export { type Descriptor, type ImageConfig, type ImageManifest, MEDIA_TYPE } from './oci.ts';
export { once } from './once.ts';
export type { RegistryOptions } from './options.ts';
export {
  formatOstreeImageReference,
  type OstreeImageReference,
  parseAnyImageReference,
  parseOstreeImageReference,
} from './ostree-reference.ts';
export { proxyFor, proxySettings } from './proxy.ts';
export { formatRegistryName, parseRegistryName, type RegistryName } from './registry-name.ts';
export { ScratchDirectory } from './scratch-directory.ts';
export { releaseMemory } from './socket-chunk.ts';
export { openImageSource } from './source.ts';
export { TagLastDestination } from './tag-last-destination.ts';
export { imageCreated, imageVersion, type PlatformImage, type ResolvedTag, resolveTag } from './tag.ts';
