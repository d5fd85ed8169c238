/**
 * Puts something beside an image that speaks of it: an attestation, a log. It is a manifest of its own whose `subject` is
 * the image (OCI image spec v1.1); registries list those under `referrers`, and where one does not know that yet, an index
 * under the tag `sha256-<hex>` does (OCI distribution spec v1.1, "Referrers Tag Schema").
 */
import { digestOf } from './digest.ts';
import { openRegistryDestination } from './destination.ts';
import { parseIndex, parseJsonObject } from './document.ts';
import { type Descriptor, type ImageIndex, MEDIA_TYPE } from './oci.ts';
import { once } from './once.ts';
import type { RegistryOptions } from './options.ts';
import { orMissing } from './or-missing.ts';
import { formatRegistryName, type RegistryName } from './registry-name.ts';
import { openContentStore } from './source.ts';

/** Of an artifact that has no config: the two bytes `{}`. */
const EMPTY_CONFIG = Buffer.from('{}');
const EMPTY_MEDIA_TYPE = 'application/vnd.oci.empty.v1+json';
const TITLE_ANNOTATION = 'org.opencontainers.image.title';

export interface Artifact {
  /** What it is, as a media type. */
  readonly type: string;
  /** Name of the file, for tools that fetch it. */
  readonly title: string;
  readonly mediaType: string;
  readonly bytes: Buffer;
  readonly annotations?: Readonly<Record<string, string>>;
}

/**
 * Attaches `artifact` to the manifest `subject` in the repository of `image`. Attaching the same again changes nothing.
 * Returns its digest. Two that attach to one image at the same time may lose one on a registry without `referrers`.
 * @throws RegistryError
 */
export async function attachArtifact(
  image: Pick<RegistryName, 'host' | 'repository'>,
  subject: Descriptor,
  artifact: Artifact,
  registry: RegistryOptions,
  signal?: AbortSignal,
): Promise<string> {
  const { host, repository } = image;
  const tag = subject.digest.replace(':', '-');
  const name = formatRegistryName({ host, repository, tag });
  const config = { mediaType: EMPTY_MEDIA_TYPE, digest: digestOf(EMPTY_CONFIG), size: EMPTY_CONFIG.length };
  const { type: artifactType, title, mediaType, bytes, annotations = {} } = artifact;
  const blob = { mediaType, digest: digestOf(bytes), size: bytes.length };
  const manifest = {
    schemaVersion: 2,
    mediaType: MEDIA_TYPE.manifest,
    artifactType,
    config,
    layers: [{ ...blob, annotations: { [TITLE_ANNOTATION]: title } }],
    subject: { mediaType: subject.mediaType, digest: subject.digest, size: subject.size },
    annotations,
  } as const;
  await using destination = openRegistryDestination(name, registry);
  await destination.putBlob(config, () => once(EMPTY_CONFIG), signal);
  await destination.putBlob(blob, () => once(bytes), signal);
  const { descriptor, knowsReferrers } = await destination.putUntagged(manifest, signal);
  if (knowsReferrers) return descriptor.digest;
  const before = await readIndex(name, registry, signal);
  if (before.some(({ digest }) => digest === descriptor.digest)) return descriptor.digest;
  const index: ImageIndex = {
    schemaVersion: 2,
    mediaType: MEDIA_TYPE.index,
    manifests: [...before, { ...descriptor, artifactType, annotations } as Descriptor],
  };
  await destination.putIndex(index, signal);
  return descriptor.digest;
}

async function readIndex(
  name: string,
  registry: RegistryOptions,
  signal: AbortSignal | undefined,
): Promise<readonly Descriptor[]> {
  await using store = openContentStore({ transport: 'registry', name }, registry);
  const top = await orMissing(store.top(signal));
  if (top === undefined) return [];
  return parseIndex(parseJsonObject(top.bytes, 'InvalidManifest', `The referrers at ${name}`), name).manifests;
}
