/** The index.json of an OCI image layout after an image was written into it. */
import { canonicalJson } from './canonical-json.ts';
import { digestOf } from './digest.ts';
import { REF_NAME } from './layout-content.ts';
import { type Descriptor, type ImageConfig, type ImageIndex, type ImageManifest, MEDIA_TYPE } from './oci.ts';

export const LAYOUT_FILE = canonicalJson({ imageLayoutVersion: '1.0.0' });

/** The manifest's bytes as they are stored, and the descriptor that points at them. */
export function manifestBlob(manifest: ImageManifest | ImageIndex): {
  readonly bytes: Buffer;
  readonly descriptor: Descriptor;
} {
  const bytes = Buffer.from(canonicalJson(manifest));
  return {
    bytes,
    descriptor: { mediaType: manifest.mediaType ?? MEDIA_TYPE.manifest, digest: digestOf(bytes), size: bytes.length },
  };
}

/**
 * With a ref the other images stay and the one of that ref is replaced; without one the index holds this image only.
 */
export function withImage(
  index: ImageIndex | undefined,
  manifest: Descriptor,
  config: Pick<ImageConfig, 'architecture' | 'os'>,
  ref: string | undefined,
): ImageIndex {
  const entry: Descriptor = {
    ...manifest,
    platform: { architecture: config.architecture, os: config.os },
    ...(ref === undefined ? {} : { annotations: { [REF_NAME]: ref } }),
  };
  const others =
    ref === undefined ? [] : (index?.manifests ?? []).filter((other) => other.annotations?.[REF_NAME] !== ref);
  return { schemaVersion: 2, mediaType: MEDIA_TYPE.index, ...index, manifests: [...others, entry] };
}
