/** From what a reference points at to images of platforms: the same for every transport. */
import { CONFIG_MAX_BYTES, type ContentStore, type Document } from './content.ts';
import { convertDockerImage, isDockerManifest } from './docker-schema2.ts';
import { parseConfig, parseIndex, parseJsonObject, parseManifest } from './document.ts';
import { printable, RegistryError } from './errors.ts';
import type { Platform, ResolvedImage } from './image-source.ts';
import { refuseUnreadableLayers, uncompressedBlobs } from './layer-types.ts';
import { documentKind } from './media-type.ts';
import { type Descriptor, type ImageManifest, MEDIA_TYPE } from './oci.ts';

const CONFIG_TYPES: ReadonlySet<string> = new Set([MEDIA_TYPE.config, MEDIA_TYPE.dockerConfig]);

export interface Candidate {
  /** Absent in an index entry that does not say; the config then decides. */
  readonly platform?: Platform;
  /** Of an entry of an index. */
  readonly digest?: string;
  readonly load: (signal?: AbortSignal) => Promise<Document>;
}

/** The images behind a document: one of a manifest, all of an index. */
export function candidates(store: ContentStore, top: Document): readonly Candidate[] {
  const value = parseJsonObject(top.bytes, 'InvalidManifest', `The manifest of ${store.label}`);
  if (documentKind(value, top.mediaType, store.label) === 'manifest') return [{ load: () => Promise.resolve(top) }];
  return parseIndex(value, store.label)
    .manifests.filter((entry) => !isAttestation(entry))
    .map((entry) => ({
      ...(entry.platform === undefined ? {} : { platform: entry.platform }),
      digest: entry.digest,
      load: (signal) => loadEntry(store, entry, signal),
    }));
}

/**
 * The image for one platform.
 * @throws RegistryError `NoPlatform` naming the platforms that there are.
 */
export async function resolvePlatform(
  store: ContentStore,
  platform: Platform,
  signal?: AbortSignal,
): Promise<ResolvedImage> {
  const all = candidates(store, await store.top(signal));
  const match =
    all.find((candidate) => candidate.platform !== undefined && isSame(candidate.platform, platform)) ??
    (all.length === 1 && all[0]?.platform === undefined ? all[0] : undefined);
  if (match === undefined)
    throw noPlatform(
      store.label,
      platform,
      all.map((candidate) => candidate.platform),
    );
  const image = await readImage(store, await match.load(signal), signal);
  if (!isSame(image.config, platform)) throw noPlatform(store.label, platform, [image.config]);
  return image;
}

/** Reads manifest and config of a per-platform image, converted to OCI form where needed. */
export async function readImage(store: ContentStore, document: Document, signal?: AbortSignal): Promise<ResolvedImage> {
  const value = parseJsonObject(document.bytes, 'InvalidManifest', `The manifest of ${store.label}`);
  if (documentKind(value, document.mediaType, store.label) === 'index') throw nestedIndex(store.label);
  const manifest = parseManifest(value, store.label);
  if (!CONFIG_TYPES.has(manifest.config.mediaType)) {
    throw new RegistryError(
      'UnsupportedMediaType',
      `${store.label} is an artifact of type ${printable(manifest.config.mediaType)}, not a container image: name an OS image.`,
    );
  }
  refuseUnreadableLayers(manifest, store.label);
  const configBytes = await readConfig(store, manifest, signal);
  const image = isDockerManifest(manifest)
    ? convertDockerImage(manifest, configBytes, store.label)
    : { manifest, config: parseConfig(configBytes, store.label) };
  const diffIds = image.config.rootfs.diff_ids;
  const storedBlobs = uncompressedBlobs(image.manifest.layers, diffIds, store.storesUncompressed ?? false);
  return { digest: document.digest, ...image, ...(storedBlobs.size === 0 ? {} : { storedBlobs }) };
}

async function readConfig(
  store: ContentStore,
  manifest: ImageManifest,
  signal: AbortSignal | undefined,
): Promise<Buffer> {
  if (manifest.config.size > CONFIG_MAX_BYTES) {
    throw new RegistryError(
      'TooLarge',
      `The config of ${store.label} is larger than ${CONFIG_MAX_BYTES} bytes: it is not that of an OS image.`,
    );
  }
  const chunks: Buffer[] = [];
  for await (const chunk of store.openBlob(manifest.config, signal === undefined ? {} : { signal })) chunks.push(chunk);
  return Buffer.concat(chunks);
}

async function loadEntry(store: ContentStore, entry: Descriptor, signal: AbortSignal | undefined): Promise<Document> {
  if (entry.mediaType === MEDIA_TYPE.index || entry.mediaType === MEDIA_TYPE.dockerManifestList)
    throw nestedIndex(store.label);
  const document = await store.manifest(entry, signal);
  return { ...document, mediaType: document.mediaType ?? entry.mediaType };
}

/** BuildKit lists provenance beside the images, under a platform that nothing runs on. */
function isAttestation(entry: Descriptor): boolean {
  return entry.platform?.os === 'unknown' && entry.platform.architecture === 'unknown';
}

function isSame(a: Platform, b: Platform): boolean {
  return a.os === b.os && a.architecture === b.architecture;
}

function nestedIndex(label: string): RegistryError {
  return new RegistryError(
    'InvalidManifest',
    `${label} is an index of indexes, which is not supported: name the inner index, or push a flat one.`,
  );
}

function noPlatform(label: string, wanted: Platform, available: readonly (Platform | undefined)[]): RegistryError {
  const names = available.map((platform) =>
    platform === undefined ? 'unnamed' : printable(`${platform.os}/${platform.architecture}`),
  );
  const offered = names.length === 0 ? 'nothing' : [...new Set(names)].slice(0, 20).join(', ');
  return new RegistryError(
    'NoPlatform',
    `${label} has no image for ${wanted.os}/${wanted.architecture} (it offers ${offered}): build it for ${wanted.architecture}, or choose another image.`,
  );
}
