/** Images whose layers can be fetched in parts, pulled over HTTP from a registry that counts. */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cp, readFile } from 'node:fs/promises';
import { gunzipSync } from 'node:zlib';
import { CompressionPool } from '../../ostree/encapsulate/compression/compression-pool.ts';
import { ZstdChunkedEncoder } from '../../ostree/encapsulate/compression/zstd-chunked/encoder.ts';
import { once } from '../../registry/index.ts';
import { pullImage, type PulledImage, type PullOptions, Repository } from '../../ostree/index.ts';
import { MEDIA_TYPE, openImageSource, parseOstreeImageReference } from '../../registry/index.ts';
import { Archive } from '../../testbed/tar-archive.ts';
import type { ZstdChunkedLayer } from '../../testbed/zstd-chunked.ts';
import { ensureZstdChunkedWriter } from '../../tools/setup/index.ts';
import { addBlob, blobPath, PLATFORM, readLayout, writeImage } from './import-fixture.ts';

/** More than what is fetched with its neighbours because asking apart costs more. */
const FILE_BYTES = 130_000;

export type LayerWriter = (tar: Buffer) => ZstdChunkedLayer | Promise<ZstdChunkedLayer>;

/** What podman, buildah and skopeo write today. */
export const currentWriter: LayerWriter = async (tar) => {
  const writer = await ensureZstdChunkedWriter(() => {});
  const { status, stdout, stderr } = spawnSync(writer, { input: tar, maxBuffer: 256 * 1024 * 1024 });
  if (status !== 0) throw new Error(`the zstd:chunked writer failed: ${stderr.toString()}`);
  return { blob: stdout, annotations: JSON.parse(stderr.toString()) as Record<string, string> };
};

/** What `treeline encapsulate` writes. */
export const ownWriter: LayerWriter = async (tar) => {
  await using pool = new CompressionPool(1);
  const encoder = new ZstdChunkedEncoder(pool);
  const pieces: Buffer[] = [];
  // A piece lasts until the next one is asked for.
  for await (const piece of encoder.encode(once(tar))) pieces.push(Buffer.from(piece));
  return { blob: Buffer.concat(pieces), annotations: encoder.annotations };
};

/** The image of `layout`, its layers compressed by `write`, as a new layout. */
export async function withLayersBy(write: LayerWriter, layout: string, target: string): Promise<string> {
  await cp(layout, target, { recursive: true });
  const { manifest, config } = await readLayout(target);
  for (const [index, layer] of manifest.layers.entries()) {
    const { blob, annotations } = await write(gunzipSync(await readFile(blobPath(layout, layer.digest))));
    manifest.layers[index] = { mediaType: MEDIA_TYPE.layerZstd, ...(await addBlob(target, blob)), annotations };
  }
  await writeImage(target, manifest, config);
  return target;
}

/** Text that hardly compresses, the same every time. */
function noise(characters: number, seed: string): string {
  const pieces = Array.from({ length: Math.ceil(characters / 43) }, (_, index) =>
    createHash('sha256').update(`${seed} ${index}`).digest('base64url'),
  );
  return pieces.join('').slice(0, characters);
}

/** Pulls over HTTP under one name, so that each image is the next version of the last. */
export async function pullFrom(host: string, path: string, options: Partial<PullOptions> = {}): Promise<PulledImage> {
  const reference = parseOstreeImageReference(`ostree-unverified-registry:${host}/os:latest`);
  await using source = openImageSource(reference.image, { plainHttpHosts: [host] });
  const repository = Repository.create(path, 'bare');
  return await pullImage({ repository, source, reference, platform: PLATFORM, ...options });
}

/** Of the one file that depends on the version. */
export function changedContent(version: string): string {
  return noise(FILE_BYTES, `version ${version}`);
}

/** Files of a system, of which the one in the middle depends on the version. */
export function manyFiles(version: string): [path: string, content: string][] {
  return Array.from({ length: 24 }, (_, index) => [
    `usr/lib/data/file-${index}`,
    index === 12 ? changedContent(version) : noise(FILE_BYTES, `${index}`),
  ]);
}

/** A derived layer with many files, of which one depends on the version, and with each kind of entry. */
export function applicationLayer(version: string): Buffer {
  const tar = new Archive().directory('usr/app');
  for (let index = 0; index < 16; index++) {
    const content = index === 8 ? changedContent(version) : noise(FILE_BYTES, `app ${index}`);
    tar.file(`usr/app/file-${index}`, content, { mode: 0o755, uid: 5 });
  }
  return tar
    .file('etc/app.d/settings', noise(FILE_BYTES, 'settings'))
    .file('var/lib/app/state', noise(FILE_BYTES, 'state'))
    .file('usr/bin/.wh.ping', '')
    .hardlink('usr/app/link', 'usr/app/file-3')
    .symlink('usr/app/symlink', 'file-4')
    .file('usr/app/labelled', 'x', { xattrs: { 'user.note': Buffer.from([0x80, 0, 0xff]) } })
    .finish();
}
