/** What a manifest's bytes are, and the docker media types that mean the same as OCI's. */
import { printable, RegistryError } from './errors.ts';
import { MEDIA_TYPE } from './oci.ts';

export type DocumentKind = 'manifest' | 'index';

const KIND: ReadonlyMap<string, DocumentKind> = new Map([
  [MEDIA_TYPE.manifest, 'manifest'],
  [MEDIA_TYPE.dockerManifest, 'manifest'],
  [MEDIA_TYPE.index, 'index'],
  [MEDIA_TYPE.dockerManifestList, 'index'],
]);

/** Docker's type on the left is OCI's on the right; the bytes are the same. */
const OCI_OF_DOCKER: ReadonlyMap<string, string> = new Map<string, string>([
  [MEDIA_TYPE.dockerManifest, MEDIA_TYPE.manifest],
  [MEDIA_TYPE.dockerManifestList, MEDIA_TYPE.index],
  [MEDIA_TYPE.dockerConfig, MEDIA_TYPE.config],
  [MEDIA_TYPE.dockerLayer, MEDIA_TYPE.layerTar],
  [MEDIA_TYPE.dockerLayerGzip, MEDIA_TYPE.layerGzip],
  ['application/vnd.docker.image.rootfs.diff.tar.zstd', MEDIA_TYPE.layerZstd],
  ['application/vnd.docker.image.rootfs.foreign.diff.tar', 'application/vnd.oci.image.layer.nondistributable.v1.tar'],
  [
    'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip',
    'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip',
  ],
]);

/** The OCI media type of a docker one; any other is handed back. */
export function ociMediaType(mediaType: string): string {
  return OCI_OF_DOCKER.get(mediaType) ?? mediaType;
}

/**
 * Whether a document is a manifest or an index. The OCI image spec wants `mediaType` inside and outside to agree, and a
 * document that could be read as both is refused (CVE-2021-41190: two readers, two images).
 * @throws RegistryError `UnsupportedMediaType`, `InvalidManifest`
 */
export function documentKind(
  value: Readonly<Record<string, unknown>>,
  outer: string | undefined,
  label: string,
): DocumentKind {
  if (value['schemaVersion'] === 1 || value['fsLayers'] !== undefined) {
    throw new RegistryError(
      'UnsupportedMediaType',
      `${label} is an image of docker schema 1, which nothing has written since 2017: push it again with a current tool.`,
    );
  }
  const inner = value['mediaType'];
  const innerKind = typeof inner === 'string' ? KIND.get(inner) : undefined;
  const outerKind = outer === undefined ? undefined : KIND.get(outer);
  if (inner !== undefined && innerKind === undefined) throw unsupported(label, JSON.stringify(inner));
  if (innerKind !== undefined && outerKind !== undefined && innerKind !== outerKind) {
    throw new RegistryError(
      'InvalidManifest',
      `The manifest of ${label} calls itself ${printable(JSON.stringify(inner))} but is served as ${printable(String(outer))}: which of the two it is, is not guessed; push it again.`,
    );
  }
  if (value['manifests'] !== undefined && (value['layers'] !== undefined || value['config'] !== undefined)) {
    throw new RegistryError(
      'InvalidManifest',
      `The manifest of ${label} is an image and an index at once: it is malformed or hostile; push it again.`,
    );
  }
  const shape = value['manifests'] !== undefined ? 'index' : value['config'] !== undefined ? 'manifest' : undefined;
  const kind = innerKind ?? outerKind ?? shape;
  if (kind === undefined) throw unsupported(label, outer ?? 'nothing');
  return kind;
}

function unsupported(label: string, mediaType: string): RegistryError {
  return new RegistryError(
    'UnsupportedMediaType',
    `${label} is not a container image that Treeline can read (media type ${printable(mediaType)}): it must be an OCI or docker schema 2 image or index.`,
  );
}
