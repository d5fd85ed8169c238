/** Which layers can be read at all: decided from the manifest, before a single one is fetched. */
import { printable, RegistryError } from './errors.ts';
import { type Descriptor, type ImageManifest, MEDIA_TYPE } from './oci.ts';
import { ociMediaType } from './media-type.ts';

/** zstd:chunked layers are of the zstd type: what makes them chunked are annotations and skippable frames. */
const READABLE: ReadonlySet<string> = new Set([MEDIA_TYPE.layerTar, MEDIA_TYPE.layerGzip, MEDIA_TYPE.layerZstd]);

/**
 * Refuses the first layer that is no tar stream we can get at.
 * @throws RegistryError `UnsupportedMediaType` naming the layer, its type and what to do.
 */
export function refuseUnreadableLayers(manifest: ImageManifest, label: string): void {
  for (const [index, layer] of manifest.layers.entries()) {
    const mediaType = ociMediaType(layer.mediaType);
    if (READABLE.has(mediaType)) continue;
    throw new RegistryError(
      'UnsupportedMediaType',
      `Layer ${index + 1} of ${manifest.layers.length} (${layer.digest}) of ${label} ${problemOf(mediaType)} (media type ${printable(layer.mediaType)}): ${nextStep(mediaType)}. Nothing was fetched.`,
    );
  }
}

/**
 * What `openBlob` has to be asked for in place of the manifest's own descriptors, where they differ, by digest. A blob
 * whose digest is its diff-id is not compressed, whatever the manifest says: containers/image writes such manifests for
 * what comes out of `docker-archive:` and `containers-storage:` (https://github.com/containers/image/issues/1270).
 *
 * @param allUncompressed whether the store has every layer under its diff-id; its size is then only a guess.
 */
export function uncompressedBlobs(
  layers: readonly Descriptor[],
  diffIds: readonly string[],
  allUncompressed: boolean,
): ReadonlyMap<string, Descriptor> {
  const blobs = new Map<string, Descriptor>();
  for (const [index, { digest, size, mediaType }] of layers.entries()) {
    const diffId = diffIds[index];
    const isAsSaid = digest === diffId && ociMediaType(mediaType) === MEDIA_TYPE.layerTar;
    if (diffId === undefined || isAsSaid || !(allUncompressed || digest === diffId)) continue;
    blobs.set(digest, { mediaType: MEDIA_TYPE.layerTar, digest: diffId, size });
  }
  return blobs;
}

function problemOf(mediaType: string): string {
  if (isEncrypted(mediaType)) return 'is encrypted';
  if (isForeign(mediaType)) return 'is a foreign layer, whose content no registry may hand on';
  return 'is of a type that Treeline does not know';
}

function nextStep(mediaType: string): string {
  if (isEncrypted(mediaType)) return 'push the image without encryption';
  if (isForeign(mediaType)) return 'build the image on a base without such layers';
  return 'it must be a tar, plain or compressed with gzip or zstd';
}

function isEncrypted(mediaType: string): boolean {
  return mediaType.endsWith('+encrypted');
}

function isForeign(mediaType: string): boolean {
  return mediaType.includes('.nondistributable.') || mediaType.includes('.foreign.');
}
