/**
 * What `FROM base` with one step makes: the base's layers untouched, one more on top, config and manifest extended. It is
 * done with plain registry calls (OCI distribution spec) rather than our own client, so that tests do not judge
 * themselves by themselves.
 */
import { createHash } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import type { Descriptor, ImageConfig, ImageManifest } from '../registry/oci.ts';
import { MEDIA_TYPE } from '../registry/oci.ts';
import { Archive } from './tar-archive.ts';

export interface LayerFile {
  /** Path without a leading slash; `.wh.NAME` removes NAME (OCI image spec, "Whiteouts"). */
  readonly path: string;
  readonly content: string | Buffer;
  /** Permission bits; default 0644. */
  readonly mode?: number;
}

export interface Derivation {
  /** `http://127.0.0.1:PORT` */
  readonly registryUrl: string;
  /** Repository that holds the base; the derived image is put there too, so that layers are shared. */
  readonly repository: string;
  readonly baseTag: string;
  readonly tag: string;
  readonly files: readonly LayerFile[];
  /** Added to, or replacing, the base's labels. */
  readonly labels: Readonly<Record<string, string>>;
  /** What `docker history` would show. */
  readonly createdBy: string;
}

/** Or later, if the base is younger: what is derived is never older than what it comes from. */
const CREATED = '2026-01-02T00:00:00Z';

/** Makes the image and puts it into the registry; returns its manifest digest. */
export async function deriveImage(derivation: Derivation): Promise<string> {
  const { repository, registryUrl, baseTag, tag, files, labels, createdBy } = derivation;
  const base = new URL(`/v2/${repository}/`, registryUrl);
  const accept = { accept: MEDIA_TYPE.manifest };
  const manifest = JSON.parse(await get(new URL(`manifests/${baseTag}`, base), accept)) as ImageManifest;
  const config = JSON.parse(await get(new URL(`blobs/${manifest.config.digest}`, base))) as ImageConfig;

  const tar = layerTar(files);
  const layer = await putBlob(base, gzipSync(tar), MEDIA_TYPE.layerGzip);
  const created = [CREATED, config.created ?? CREATED].toSorted().at(-1) ?? CREATED;
  const newConfig: ImageConfig = {
    ...config,
    created,
    config: { ...config.config, Labels: { ...config.config?.Labels, ...labels } },
    rootfs: { type: 'layers', diff_ids: [...config.rootfs.diff_ids, digestOf(tar)] },
    history: [...(config.history ?? []), { created, created_by: createdBy }],
  };
  const configDescriptor = await putBlob(base, Buffer.from(JSON.stringify(newConfig)), MEDIA_TYPE.config);
  // Builders drop the base's annotations; the labels in the config are what is inherited.
  const newManifest: ImageManifest = {
    schemaVersion: 2,
    mediaType: MEDIA_TYPE.manifest,
    config: configDescriptor,
    layers: [...manifest.layers, layer],
  };
  const bytes = Buffer.from(JSON.stringify(newManifest));
  await put(new URL(`manifests/${tag}`, base), bytes, MEDIA_TYPE.manifest);
  return digestOf(bytes);
}

/** The digest of the manifest under a tag, as the registry tells it. */
export async function manifestDigest(registryUrl: string, repository: string, tag: string): Promise<string> {
  return digestOf(
    Buffer.from(await get(new URL(`/v2/${repository}/manifests/${tag}`, registryUrl), { accept: MEDIA_TYPE.manifest })),
  );
}

function digestOf(bytes: Buffer): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

function layerTar(files: readonly LayerFile[]): Buffer {
  const tar = new Archive();
  const mtime = Date.parse(CREATED) / 1000;
  for (const { path, content, mode } of files) tar.file(path, content, { mode: mode ?? 0o644, mtime });
  return tar.finish();
}

async function get(url: URL, headers: Record<string, string> = {}): Promise<string> {
  const response = await fetch(url, { headers });
  if (!response.ok) throw new Error(`GET ${url.href} answered ${response.status}: ${await response.text()}`);
  return response.text();
}

async function put(url: URL, body: Buffer, contentType: string): Promise<void> {
  const headers = { 'content-type': contentType };
  const response = await fetch(url, { method: 'PUT', body: new Uint8Array(body), headers });
  if (!response.ok) throw new Error(`PUT ${url.href} answered ${response.status}: ${await response.text()}`);
}

async function putBlob(base: URL, bytes: Buffer, mediaType: string): Promise<Descriptor> {
  const digest = digestOf(bytes);
  const started = await fetch(new URL('blobs/uploads/', base), { method: 'POST' });
  const location = started.headers.get('location');
  if (location === null) throw new Error(`The registry gave no upload location: ${started.status}`);
  const upload = new URL(location, base);
  upload.searchParams.set('digest', digest);
  await put(upload, bytes, 'application/octet-stream');
  return { mediaType, digest, size: bytes.length };
}
