/**
 * What the import tests stand on: a small operating system committed by the host's `ostree`, made into images by the
 * peer, extended with hand-made layers, and pulled by the peer and by us into `bare` repositories.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmod, chown, cp, link, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { pullImage, type PulledImage, type PullOptions, Repository } from '../../ostree/index.ts';
import { MEDIA_TYPE, openImageSource, parseOstreeImageReference } from '../../registry/index.ts';
import { ensurePeer } from '../../tools/setup/index.ts';

const exec = promisify(execFile);

/** Go's name for the CPU that we run on. */
export const ARCHITECTURE = process.arch === 'x64' ? 'amd64' : process.arch;
export const PLATFORM = { os: 'linux', architecture: ARCHITECTURE };
/** cap_setuid, cap_net_raw and a rootid: bytes above 0x7f, NULs and a newline. */
export const CAPABILITY = Buffer.from('010000028020000000000000000000000a000000', 'hex');

/** Runs a host tool and returns what it prints. Its locale is UTF-8: libarchive needs one to read names. */
export async function run(command: string, ...parameters: readonly string[]): Promise<string> {
  const { stdout } = await exec(command, parameters, {
    env: { ...process.env, LC_ALL: 'C.UTF-8' },
    maxBuffer: 64 * 1024 * 1024,
  });
  return stdout;
}

export async function makeFolder(): Promise<string> {
  return await mkdtemp(join(tmpdir(), 'treeline-import-'));
}

type SystemFile = readonly [path: string, content: string, mode?: number, owner?: number];

/** Files of the small system. */
const FILES: readonly SystemFile[] = [
  ['usr/bin/sh', '#!shell\n', 0o755],
  ['usr/bin/ping', 'with a capability', 0o755],
  ['usr/bin/sudo', 'setuid', 0o4755],
  ['usr/bin/empty', '', 0o755],
  ['usr/lib/modules/6.1.0/vmlinuz', 'kernel'],
  ['usr/lib/modules/6.1.0/initramfs.img', 'initramfs'],
  ['usr/lib/big', 'large enough to be streamed. '.repeat(20_000)],
  ['usr/lib/däta/naïve file', 'names beyond ASCII'],
  [`usr/share/${'long-directory-name/'.repeat(8)}${'long-file-name-'.repeat(10)}`, 'long'],
  ['usr/share/owned', 'by somebody', 0o640, 4_000_000],
  ['usr/share/doc/a/readme', 'a'],
  ['usr/share/doc/a/license', 'b'],
  ['usr/share/doc/b/readme', 'c'],
  ['usr/etc/app.conf', 'original\n'],
  ['usr/etc/ssh/sshd_config', 'PermitRootLogin no\n', 0o600],
  ['usr/etc/ssh/key', 'secret\n', 0o600],
];

export interface SystemOptions {
  /** Becomes `/etc/selinux`. */
  readonly policy?: string;
  /** False for a system whose files were never labelled by its policy. */
  readonly labelled?: boolean;
}

/** The repository with the small system on branch `os`, and its folder. */
export async function makeSystem(
  folder: string,
  extra: readonly SystemFile[] = [],
  { policy, labelled = true }: SystemOptions = {},
): Promise<string> {
  const root = join(folder, 'root');
  for (const name of ['boot', 'proc', 'run', 'sys', 'sysroot', 'tmp', 'var']) {
    await mkdir(join(root, name), { recursive: true });
  }
  for (const [path, content, mode = 0o644, owner = 0] of [...FILES, ...extra]) {
    const full = join(root, path);
    await mkdir(dirname(full), { recursive: true });
    await writeFile(full, content);
    await chown(full, owner, owner);
    await chmod(full, mode);
  }
  await symlink('sh', join(root, 'usr/bin/bash'));
  await symlink('sysroot/ostree', join(root, 'ostree'));
  await link(join(root, 'usr/share/doc/a/license'), join(root, 'usr/share/doc/b/license'));
  await chmod(join(root, 'tmp'), 0o1777);
  await run(
    'setfattr',
    '-n',
    'security.capability',
    '-v',
    `0x${CAPABILITY.toString('hex')}`,
    join(root, 'usr/bin/ping'),
  );
  if (policy === undefined) {
    // libostree before 2025.2 stores a label after such an attribute, and then calls the object corrupt.
    await run('setfattr', '-n', 'user.note', '-v', 'on a directory', join(root, 'usr/share/doc'));
  } else {
    await cp(policy, join(root, 'usr/etc/selinux'), { recursive: true });
  }
  const repository = join(folder, 'source');
  await run('ostree', `--repo=${repository}`, 'init', '--mode=bare');
  await run(
    'ostree',
    `--repo=${repository}`,
    'commit',
    '--branch=os',
    `--tree=dir=${root}`,
    ...(policy !== undefined && labelled ? [`--selinux-policy=${root}`] : []),
    '--timestamp=@1700000000',
    '--no-bindings',
    '--add-metadata=ostree.bootable=true',
    '--add-metadata-string=version=42.1',
  );
  await rm(root, { recursive: true });
  return repository;
}

/** Has the peer make an image of branch `os`; one layer, or several with `chunked`. Returns the OCI layout's path. */
export async function encapsulate(repository: string, folder: string, chunked: boolean): Promise<string> {
  const peer = await ensurePeer(() => {});
  const layout = join(folder, chunked ? 'chunked' : 'single');
  const meta: string[] = [];
  if (chunked) {
    const path = join(folder, 'contentmeta.json');
    await writeFile(path, JSON.stringify(await contentMeta(repository)));
    meta.push('--contentmeta', path);
  }
  await run(peer, 'container', 'encapsulate', `--repo=${repository}`, ...meta, 'os', `oci:${layout}:base`);
  return layout;
}

async function contentMeta(repository: string): Promise<unknown> {
  const listing = await run('ostree', `--repo=${repository}`, 'ls', '-R', '-C', 'os');
  const mapping: Record<string, string> = {};
  for (const line of listing.split('\n')) {
    const match = /^[-l]\S+ \d+ \d+ +\d+ ([0-9a-f]{64}) (\/.*?)(?: -> .*)?$/.exec(line);
    if (match === null) continue;
    mapping[match[1]!] = match[2]!.includes('/modules/') ? 'kernel' : match[2]!.includes('/bin/') ? 'bin' : 'rest';
  }
  return { version: 1, layers: { kernel: 'kernel', bin: 'bin', rest: 'rest' }, mapping };
}

export interface OciManifest {
  schemaVersion: 2;
  config: { mediaType: string; digest: string; size: number };
  layers: { mediaType: string; digest: string; size: number; annotations?: Record<string, string> }[];
  annotations?: Record<string, string>;
}

export interface OciConfig {
  architecture: string;
  config: { Labels: Record<string, string> };
  rootfs: { type: 'layers'; diff_ids: string[] };
  history?: { created?: string; created_by?: string }[];
}

/** Reads the only image of an OCI layout. */
export async function readLayout(layout: string): Promise<{ manifest: OciManifest; config: OciConfig }> {
  const index = JSON.parse(await readFile(join(layout, 'index.json'), 'utf8')) as { manifests: { digest: string }[] };
  const manifest = JSON.parse(await readFile(blobPath(layout, index.manifests[0]!.digest), 'utf8')) as OciManifest;
  const config = JSON.parse(await readFile(blobPath(layout, manifest.config.digest), 'utf8')) as OciConfig;
  return { manifest, config };
}

export function blobPath(layout: string, digest: string): string {
  return join(layout, 'blobs', digest.replace(':', '/'));
}

export async function addBlob(layout: string, bytes: Buffer): Promise<{ digest: string; size: number }> {
  const digest = sha256(bytes);
  await writeFile(blobPath(layout, digest), bytes);
  return { digest, size: bytes.length };
}

export function sha256(bytes: Buffer): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

/** Writes manifest and config as the layout's only image, tagged `base`. */
export async function writeImage(layout: string, manifest: OciManifest, config: OciConfig): Promise<string> {
  const mediaType = 'application/vnd.oci.image.manifest.v1+json';
  const configBlob = await addBlob(layout, Buffer.from(JSON.stringify(config)));
  const complete = { ...manifest, config: { mediaType: MEDIA_TYPE.config, ...configBlob } };
  const blob = await addBlob(layout, Buffer.from(JSON.stringify(complete)));
  const annotations = { 'org.opencontainers.image.ref.name': 'base' };
  await writeFile(
    join(layout, 'index.json'),
    JSON.stringify({ schemaVersion: 2, manifests: [{ mediaType, ...blob, annotations }] }),
  );
  return blob.digest;
}

export type LayerCompression = 'gzip' | 'zstd' | 'none';

/** The image of `layout` with further layers on top, as a new layout: what `FROM` would make. */
export async function derive(
  layout: string,
  target: string,
  tars: readonly Buffer[],
  compression: LayerCompression = 'gzip',
): Promise<string> {
  await cp(layout, target, { recursive: true });
  const { manifest, config } = await readLayout(target);
  for (const tar of tars) {
    manifest.layers.push(await addLayer(target, tar, compression));
    config.rootfs.diff_ids.push(sha256(tar));
    config.history?.push({ created: '2024-01-01T00:00:00Z', created_by: 'test' });
  }
  await writeImage(target, manifest, config);
  return target;
}

/** Puts one layer into the layout and returns its descriptor. */
export async function addLayer(
  layout: string,
  tar: Buffer,
  compression: LayerCompression,
): Promise<OciManifest['layers'][number]> {
  switch (compression) {
    case 'gzip':
      return { mediaType: MEDIA_TYPE.layerGzip, ...(await addBlob(layout, gzipSync(tar))) };
    case 'zstd':
      return { mediaType: MEDIA_TYPE.layerZstd, ...(await addBlob(layout, zstdCompressSync(tar))) };
    case 'none':
      return { mediaType: MEDIA_TYPE.layerTar, ...(await addBlob(layout, tar)) };
  }
}

export function referenceTo(layout: string): string {
  return `ostree-unverified-image:oci:${layout}:base`;
}

/** Pulls with our importer into a `bare` repository, made if it is not there. */
export async function pull(path: string, layout: string, options: Partial<PullOptions> = {}): Promise<PulledImage> {
  const reference = parseOstreeImageReference(referenceTo(layout));
  await using source = openImageSource(reference.image, {});
  const repository = Repository.create(path, 'bare');
  return await pullImage({ repository, source, reference, platform: PLATFORM, ...options });
}

/** Pulls with the peer into a `bare` repository and returns the merge commit. */
export async function pullWithPeer(path: string, layout: string): Promise<string> {
  await run('ostree', `--repo=${path}`, 'init', '--mode=bare');
  const reference = referenceTo(layout);
  const output = await run(await ensurePeer(() => {}), 'container', 'image', 'pull', '--quiet', path, reference);
  const commit = /=> ([0-9a-f]{64})/.exec(output)?.[1];
  assert.ok(commit, `the peer names a commit: ${output}`);
  return commit;
}

/** What `ostree` says a commit contains: everything but its metadata. */
export async function contentOf(repository: string, commit: string): Promise<string> {
  const shown = await run('ostree', `--repo=${repository}`, 'show', commit);
  const checksum = /ContentChecksum:\s+(\S+)/.exec(shown)?.[1];
  const listing = await run('ostree', `--repo=${repository}`, 'ls', '-R', '-X', '-C', commit);
  return `content ${checksum ?? 'unknown'}\n${listing}`;
}

/** All refs under `prefix`, as `ostree refs` tells them. */
export async function refsOf(repository: string, prefix: string): Promise<ReadonlyMap<string, string>> {
  const names = (await run('ostree', `--repo=${repository}`, 'refs', '--list', prefix)).split('\n').filter(Boolean);
  const refs = await Promise.all(
    names.map(async (name) => [name, (await run('ostree', `--repo=${repository}`, 'rev-parse', name)).trim()] as const),
  );
  return new Map(refs.sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** Throws with what `ostree fsck` found, unless it found nothing. */
export async function fsck(repository: string): Promise<void> {
  await run('ostree', `--repo=${repository}`, 'fsck', '--quiet');
}
