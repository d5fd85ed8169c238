/**
 * Finds what is attached to a digest in a repository: the tag `sha256-<hex>.sig`, and the referrers of the OCI
 * distribution specification 1.1 (its API, or on registries without it the index under the tag `sha256-<hex>`).
 */
import { type ContentStore, MANIFEST_MAX_BYTES } from '../content.ts';
import { header, readBody } from '../connection.ts';
import { hexOf } from '../digest.ts';
import { parseIndex, parseJsonObject, parseManifest } from '../document.ts';
import { RegistryError } from '../errors.ts';
import { type Descriptor, type ImageIndex, MEDIA_TYPE } from '../oci.ts';
import type { RegistryOptions } from '../options.ts';
import { orMissing } from '../or-missing.ts';
import { pullSources } from '../pull-sources.ts';
import { RegistryClient } from '../registry-client.ts';
import { formatRegistryName, type RegistryName } from '../registry-name.ts';
import { openContentStore } from '../source.ts';
import { ANNOTATION, type AttachedSignature, BUNDLE_MEDIA_TYPES } from './attached-signature.ts';
import { askWithMirrors } from './mirrored-lookup.ts';
import { PAYLOAD_MAX_BYTES, SIMPLE_SIGNING_MEDIA_TYPE } from './simple-signing.ts';

/** A registry may hold any number; whoever can write there must not be able to keep us reading for ever. */
export const SIGNATURES_MAX = 64;
const REFERRER_PAGES_MAX = 8;
/** cosign's artifact type of simple signing payloads that are attached as referrers. */
const SIMPLE_SIGNING_ARTIFACT = 'application/vnd.dev.cosign.artifact.sig.v1+json';
/** Answers of registries that do not know the referrers API. */
const NO_REFERRERS_API: readonly number[] = [400, 404, 405, 406, 501];

export interface Lookup {
  readonly found: readonly AttachedSignature[];
  /** Where was looked, for the message when there is nothing. */
  readonly places: readonly string[];
}

/** `sha256-<hex>`, under which tags of a digest begin. */
export function tagOfDigest(digest: string): string {
  return `sha256-${hexOf(digest)}`;
}

/**
 * All signatures attached to `digest`, the first 64; of a mirror where the repository itself has none or does not answer.
 * @throws RegistryError when the registry cannot be asked, or holds malformed documents there.
 */
export function findSignatures(
  repository: Pick<RegistryName, 'host' | 'repository'>,
  digest: string,
  options: RegistryOptions,
  signal?: AbortSignal,
): Promise<Lookup> {
  const ask = (place: typeof repository): Promise<Lookup> => findAt(place, digest, options, signal);
  return askWithMirrors(repository, options, ask, ({ found }) => found.length > 0, signal);
}

async function findAt(
  repository: Pick<RegistryName, 'host' | 'repository'>,
  digest: string,
  options: RegistryOptions,
  signal: AbortSignal | undefined,
): Promise<Lookup> {
  const base = { host: repository.host, repository: repository.repository };
  const found = [...(await taggedAt(base, digest, options, signal))];
  await using store = openStore({ ...base, digest }, options);
  for (const referrer of await referrersOf(base, digest, options, signal)) {
    if (found.length >= SIGNATURES_MAX) break;
    const manifest = await store.manifest(referrer, signal);
    found.push(...(await readAttached(store, manifest.bytes, `referrer ${referrer.digest}`, signal)));
  }
  return {
    found: found.slice(0, SIGNATURES_MAX),
    places: [`tag ${tagOfDigest(digest)}.sig`, `the referrers of ${digest}`],
  };
}

/**
 * Those under the tag `sha256-<hex>.sig`, the only ones that podman and skopeo look at; of a mirror as above.
 * @throws RegistryError when the registry cannot be asked, or holds a malformed document there.
 */
export function findTaggedSignatures(
  repository: Pick<RegistryName, 'host' | 'repository'>,
  digest: string,
  options: RegistryOptions,
  signal?: AbortSignal,
): Promise<readonly AttachedSignature[]> {
  const ask = (place: typeof repository) => taggedAt(place, digest, options, signal);
  return askWithMirrors(repository, options, ask, (found) => found.length > 0, signal);
}

async function taggedAt(
  { host, repository }: Pick<RegistryName, 'host' | 'repository'>,
  digest: string,
  options: RegistryOptions,
  signal: AbortSignal | undefined,
): Promise<readonly AttachedSignature[]> {
  const tag = `${tagOfDigest(digest)}.sig`;
  await using tagged = openStore({ host, repository, tag }, options);
  const top = await orMissing(tagged.top(signal));
  return top === undefined ? [] : await readAttached(tagged, top.bytes, `tag ${tag}`, signal);
}

async function readAttached(
  store: ContentStore,
  manifestBytes: Buffer,
  where: string,
  signal: AbortSignal | undefined,
): Promise<readonly AttachedSignature[]> {
  const manifest = parseManifest(
    parseJsonObject(manifestBytes, 'InvalidManifest', `The signature manifest at ${where} of ${store.label}`),
    store.label,
  );
  const signatures: AttachedSignature[] = [];
  for (const [index, layer] of manifest.layers.slice(0, SIGNATURES_MAX).entries()) {
    const at = manifest.layers.length === 1 ? where : `${where}, number ${index + 1}`;
    if (layer.size > PAYLOAD_MAX_BYTES) continue;
    if (layer.mediaType === SIMPLE_SIGNING_MEDIA_TYPE)
      signatures.push({
        kind: 'simple-signing',
        where: at,
        payload: await readBlob(store, layer, signal),
        ...annotated(layer),
      });
    else if (BUNDLE_MEDIA_TYPES.has(layer.mediaType))
      signatures.push({ kind: 'bundle', where: at, bundle: await readBlob(store, layer, signal) });
  }
  return signatures;
}

function annotated({ annotations = {} }: Descriptor) {
  const certificate = annotations[ANNOTATION.certificate];
  const chain = annotations[ANNOTATION.chain];
  const rekorBundle = annotations[ANNOTATION.rekorBundle];
  return {
    signature: Buffer.from(annotations[ANNOTATION.signature] ?? '', 'base64'),
    ...(certificate === undefined ? {} : { certificate }),
    ...(chain === undefined ? {} : { chain }),
    ...(rekorBundle === undefined ? {} : { rekorBundle }),
  };
}

async function readBlob(store: ContentStore, descriptor: Descriptor, signal: AbortSignal | undefined): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of store.openBlob(descriptor, signal === undefined ? {} : { signal })) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** Of the first place that has any: signatures prove themselves, so it does not matter whose copy is read. */
async function referrersOf(
  repository: Pick<RegistryName, 'host' | 'repository'>,
  digest: string,
  options: RegistryOptions,
  signal: AbortSignal | undefined,
): Promise<readonly Descriptor[]> {
  const sources = pullSources({ ...repository, digest }, options.registries);
  let failure: unknown;
  for (const { name, insecure, isMirror } of sources) {
    const place = insecure ? { ...options, insecureHosts: [...(options.insecureHosts ?? []), name.host] } : options;
    try {
      const found =
        (await referrersByApi(name, digest, place, signal)) ?? (await referrersByTag(name, digest, options, signal));
      if (found.length > 0) return found;
    } catch (error) {
      signal?.throwIfAborted();
      if (!isMirror) throw error;
      failure = error;
    }
  }
  if (failure !== undefined) options.onWarning?.(`a mirror could not be asked for signatures of ${digest}`);
  return [];
}

/** Absent when the registry does not have the API. */
async function referrersByApi(
  name: RegistryName,
  digest: string,
  options: RegistryOptions,
  signal: AbortSignal | undefined,
): Promise<readonly Descriptor[] | undefined> {
  await using client = new RegistryClient(name, 'pull', options);
  const found: Descriptor[] = [];
  let target: string | URL = `referrers/${digest}`;
  for (let page = 0; page < REFERRER_PAGES_MAX; page++) {
    const asked: string | URL = target;
    const answer = await client.retrying(
      () =>
        client.attempt({
          method: 'GET',
          target: asked,
          headers: { accept: MEDIA_TYPE.index },
          expect: page === 0 ? [200, ...NO_REFERRERS_API] : [200],
          missing: `Registry ${name.host} lost the list of what refers to ${digest}: try again.`,
          signal,
        }),
      signal,
    );
    const bytes = await readBody(answer, MANIFEST_MAX_BYTES, signal);
    if (answer.status !== 200) return undefined;
    if (bytes === undefined) throw tooLong(name, digest);
    found.push(...signatureEntries(parseReferrers(bytes, name, digest)));
    const next = /<([^>]+)>\s*;\s*rel="?next"?/.exec(header(answer, 'link') ?? '')?.[1];
    if (next === undefined) return found;
    target = new URL(next, answer.url);
  }
  return found;
}

async function referrersByTag(
  name: RegistryName,
  digest: string,
  options: RegistryOptions,
  signal: AbortSignal | undefined,
): Promise<readonly Descriptor[]> {
  const { host, repository } = name;
  await using store = openStore({ host, repository, tag: tagOfDigest(digest) }, options);
  const top = await orMissing(store.top(signal));
  return top === undefined ? [] : signatureEntries(parseReferrers(top.bytes, name, digest));
}

function parseReferrers(bytes: Buffer, name: RegistryName, digest: string): ImageIndex {
  const label = `what refers to ${digest} in ${name.host}/${name.repository}`;
  return parseIndex(parseJsonObject(bytes, 'InvalidManifest', `The list of ${label}`), label);
}

function signatureEntries(index: ImageIndex): readonly Descriptor[] {
  return index.manifests.filter((entry) => {
    const { artifactType } = entry as { artifactType?: unknown };
    return (
      typeof artifactType === 'string' &&
      (artifactType === SIMPLE_SIGNING_ARTIFACT || BUNDLE_MEDIA_TYPES.has(artifactType))
    );
  });
}

function openStore(name: RegistryName, options: RegistryOptions): ContentStore {
  return openContentStore({ transport: 'registry', name: formatRegistryName(name) }, options);
}

function tooLong(name: RegistryName, digest: string): RegistryError {
  return new RegistryError(
    'TooLarge',
    `Registry ${name.host} lists more than ${MANIFEST_MAX_BYTES} bytes of what refers to ${digest}: delete what is not needed there.`,
  );
}
