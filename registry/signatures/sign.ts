/**
 * Signs images with a key, as cosign, podman and skopeo do: a simple signing payload as a layer of the image under the tag
 * `sha256-<hex>.sig`. That form every registry can hold and every one of those tools can verify.
 */
import { canonicalJson } from '../canonical-json.ts';
import { digestOf } from '../digest.ts';
import { openImageDestination } from '../destination.ts';
import { documentKind } from '../media-type.ts';
import { parseIndex, parseJsonObject, parseManifest } from '../document.ts';
import { RegistryError } from '../errors.ts';
import { type Descriptor, type ImageManifest, MEDIA_TYPE } from '../oci.ts';
import { once } from '../once.ts';
import type { RegistryOptions } from '../options.ts';
import { orMissing } from '../or-missing.ts';
import { formatRegistryName, type RegistryName } from '../registry-name.ts';
import { openContentStore } from '../source.ts';
import { ANNOTATION } from './attached-signature.ts';
import { SIGNATURES_MAX, tagOfDigest } from './lookup.ts';
import { formatSimpleSigning, SIMPLE_SIGNING_MEDIA_TYPE } from './simple-signing.ts';
import { isSignedBy } from './public-key.ts';
import { signBytes, type SigningKey } from './signing-key.ts';

export interface SigningRequest {
  /** By tag or digest. */
  readonly image: RegistryName;
  readonly key: SigningKey;
  /** `host/repository` to sign as; by default that of the image. */
  readonly signAs?: string;
  readonly registry: RegistryOptions;
  readonly signal?: AbortSignal | undefined;
}

export interface Signed {
  /** What the name points at. */
  readonly digest: string;
  /** That, and every image that an index lists: nodes and podman look at the image of their own platform. */
  readonly signed: readonly string[];
  /** Digests that had this key's signature already. */
  readonly already: readonly string[];
}

/**
 * Signs an image; of an index, also every image in it. Signing again changes nothing.
 * @throws RegistryError; SignatureError
 */
export async function signImage(request: SigningRequest): Promise<Signed> {
  const { image, registry, signal } = request;
  await using store = openContentStore({ transport: 'registry', name: formatRegistryName(image) }, registry);
  const top = await store.top(signal);
  const value = parseJsonObject(top.bytes, 'InvalidManifest', `The manifest of ${store.label}`);
  const isIndex = documentKind(value, top.mediaType, store.label) === 'index';
  const listed = isIndex ? parseIndex(value, store.label).manifests.map(({ digest }) => digest) : [];
  const signed: string[] = [];
  const already: string[] = [];
  // What an index lists first: once the index is signed, all of it is.
  for (const digest of new Set([...listed, top.digest])) {
    ((await signDigest(request, digest)) ? signed : already).push(digest);
  }
  return { digest: top.digest, signed, already };
}

/** Returns whether a signature was added. */
async function signDigest({ image, key, signAs, registry, signal }: SigningRequest, digest: string): Promise<boolean> {
  const { host, repository } = image;
  const payload = formatSimpleSigning({ dockerReference: signAs ?? `${host}/${repository}`, digest });
  const place = {
    transport: 'registry',
    name: formatRegistryName({ host, repository, tag: `${tagOfDigest(digest)}.sig` }),
  } as const;
  const before = await existingSignatures(place.name, registry, signal);
  const layer = describe(payload, SIMPLE_SIGNING_MEDIA_TYPE);
  if (before.some((other) => other.digest === layer.digest && isOurs(other, key, payload))) return false;
  if (before.length >= SIGNATURES_MAX) {
    throw new RegistryError(
      'TooLarge',
      `${place.name} holds ${before.length} signatures already, more than are ever looked at: delete old ones.`,
    );
  }
  const entry = { ...layer, annotations: { [ANNOTATION.signature]: signBytes(key, payload).toString('base64') } };
  const layers = [...before, entry];
  const configBytes = Buffer.from(
    canonicalJson({
      architecture: '',
      config: {},
      os: '',
      rootfs: { type: 'layers', diff_ids: layers.map((one) => one.digest) },
    }),
  );
  const config = describe(configBytes, MEDIA_TYPE.config);
  const manifest: ImageManifest = { schemaVersion: 2, mediaType: MEDIA_TYPE.manifest, config, layers };
  await using destination = openImageDestination(place, registry);
  await destination.putBlob(layer, () => once(payload), signal);
  await destination.putBlob(config, () => once(configBytes), signal);
  await destination.putManifest(manifest, signal);
  return true;
}

async function existingSignatures(
  name: string,
  registry: RegistryOptions,
  signal: AbortSignal | undefined,
): Promise<readonly Descriptor[]> {
  await using store = openContentStore({ transport: 'registry', name }, registry);
  const top = await orMissing(store.top(signal));
  if (top === undefined) return [];
  return parseManifest(parseJsonObject(top.bytes, 'InvalidManifest', `The signatures at ${name}`), name).layers;
}

/** Whether a layer with this very payload carries a signature of this key. */
function isOurs(layer: Descriptor, key: SigningKey, payload: Buffer): boolean {
  const signature = Buffer.from(layer.annotations?.[ANNOTATION.signature] ?? '', 'base64');
  return isSignedBy(key.publicKey, payload, signature);
}

function describe(bytes: Buffer, mediaType: string): Descriptor {
  return { mediaType, digest: digestOf(bytes), size: bytes.length };
}
