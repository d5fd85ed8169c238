/** A registry with one stream of an OS as builders publish it: an index, signed by cosign's tags, with a bill of materials. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { MEDIA_TYPE } from '../../registry/index.ts';
import { startRegistry, type TestRegistry } from '../../testbed/registry.ts';
import { ARCHITECTURE, blobPath, encapsulate, makeSystem, readLayout, run, sha256 } from './import-fixture.ts';

interface Pushed {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
}

export interface Origin {
  readonly registry: TestRegistry;
  /** Digest of the index under `team/os:stable`. */
  readonly index: string;
  /** Of the image in it for this machine. */
  readonly image: string;
  /** Every tag of the repository. */
  readonly tags: readonly string[];
  /** The OCI layout that the image came from. */
  readonly layout: string;
}

/** @param folder for the registry's storage and what the image is made from. */
export async function startOrigin(folder: string): Promise<Origin> {
  const layout = await encapsulate(await makeSystem(folder), folder, true);
  const registry = await startRegistry({ storage: join(folder, 'origin') });
  const repository = `http://${registry.host}/v2/team/os`;
  await run(
    'skopeo',
    'copy',
    '--quiet',
    '--dest-tls-verify=false',
    `oci:${layout}:base`,
    `docker://${registry.host}/team/os:base`,
  );
  const { manifest } = await readLayout(layout);
  const bytes = await readFile(blobPath(layout, (await layoutIndex(layout)).manifests[0]!.digest));
  const image = await putDocument(repository, 'base', MEDIA_TYPE.manifest, bytes);
  // The same content for another architecture: another config, all layers shared.
  const config = JSON.parse(await readFile(blobPath(layout, manifest.config.digest), 'utf8')) as object;
  const other = await putBlob(repository, MEDIA_TYPE.config, JSON.stringify({ ...config, architecture: 's390x' }));
  const foreign = await putJson(repository, 'other', { ...manifest, config: other });
  const index = await putJson(repository, 'stable', {
    schemaVersion: 2,
    mediaType: MEDIA_TYPE.index,
    manifests: [
      { ...image, platform: { os: 'linux', architecture: ARCHITECTURE } },
      { ...foreign, platform: { os: 'linux', architecture: 's390x' } },
    ],
  });
  const attach = async (reference: string, payload: string, extra: object): Promise<Pushed> =>
    putJson(repository, reference, {
      schemaVersion: 2,
      mediaType: MEDIA_TYPE.manifest,
      config: await putBlob(repository, MEDIA_TYPE.config, JSON.stringify({ payload })),
      layers: [await putBlob(repository, 'application/vnd.dev.cosign.simplesigning.v1+json', payload)],
      ...extra,
    });
  const tag = (digest: string): string => digest.replace(':', '-');
  await attach(`${tag(index.digest)}.sig`, 'signature of the index', {});
  await attach(`${tag(image.digest)}.sig`, 'signature of the image', {});
  await attach(`${tag(index.digest)}.att`, 'attestation', {});
  const artifactType = 'application/spdx+json';
  const referrer = await attach('bill', 'bill of materials', { artifactType, subject: index });
  await putJson(repository, tag(index.digest), {
    schemaVersion: 2,
    mediaType: MEDIA_TYPE.index,
    manifests: [{ ...referrer, artifactType }],
  });
  return { registry, index: index.digest, image: image.digest, tags: await listTags(registry.host, 'team/os'), layout };
}

export async function listTags(host: string, repository: string): Promise<readonly string[]> {
  const text = await run('skopeo', 'list-tags', '--tls-verify=false', `docker://${host}/${repository}`);
  return (JSON.parse(text) as { readonly Tags: readonly string[] }).Tags.toSorted();
}

async function layoutIndex(layout: string): Promise<{ readonly manifests: readonly { readonly digest: string }[] }> {
  return JSON.parse(await readFile(join(layout, 'index.json'), 'utf8')) as { manifests: { digest: string }[] };
}

function putJson(repository: string, reference: string, value: object): Promise<Pushed> {
  const mediaType = 'manifests' in value ? MEDIA_TYPE.index : MEDIA_TYPE.manifest;
  return putDocument(repository, reference, mediaType, Buffer.from(JSON.stringify(value)));
}

async function putDocument(repository: string, reference: string, mediaType: string, bytes: Buffer): Promise<Pushed> {
  const response = await fetch(`${repository}/manifests/${reference}`, {
    method: 'PUT',
    headers: { 'content-type': mediaType },
    body: new Uint8Array(bytes),
  });
  if (response.status !== 201) throw new Error(`${reference}: ${response.status} ${await response.text()}`);
  return { mediaType, digest: sha256(bytes), size: bytes.length };
}

async function putBlob(repository: string, mediaType: string, text: string): Promise<Pushed> {
  const bytes = Buffer.from(text);
  const begun = await fetch(`${repository}/blobs/uploads/`, { method: 'POST' });
  const url = new URL(begun.headers.get('location') ?? '', repository);
  url.searchParams.set('digest', sha256(bytes));
  const response = await fetch(url, { method: 'PUT', body: bytes });
  if (response.status !== 201) throw new Error(`${url.pathname}: ${response.status} ${await response.text()}`);
  return { mediaType, digest: sha256(bytes), size: bytes.length };
}
