/** Layers of very many tiny files, through a real registry into a real repository: what they cost, and where it ends. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { cp, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { createGzip } from 'node:zlib';
import { encodeCommit } from '../../ostree/objects/commit.ts';
import { encodeDirectoryMetadata } from '../../ostree/objects/dirmeta.ts';
import { encodeDirtree } from '../../ostree/objects/dirtree.ts';
import { contentChecksum, S_IFREG } from '../../ostree/objects/file-header.ts';
import { MEDIA_TYPE } from '../../registry/index.ts';
import { startRegistry, type TestRegistry } from '../../testbed/registry.ts';
import { Archive, type MemberOptions } from '../../testbed/tar-archive.ts';
import { TREELINE } from '../../testbed/treeline-command.ts';
import {
  blobPath,
  encapsulate,
  fsck,
  makeFolder,
  makeSystem,
  type OciManifest,
  readLayout,
  run,
  sha256,
  writeImage,
} from './import-fixture.ts';

/** Entries of one directory of a layer. */
const IN_DIRECTORY = 1000;
/** Objects of the layer with the commit, and of the chunk. */
const OBJECTS = 100_000;
/** A pod of the agent may have 512 MiB. The tree of a derived layer takes most of what there is. */
const MOST_MEMORY_MB = { derived: 512, objects: 384 };
const LOOK_PERIOD_MS = 20;

interface Layer {
  readonly descriptor: OciManifest['layers'][number];
  readonly diffId: string;
}

interface Pulled {
  readonly status: number | null;
  readonly said: string;
  /** The most that was resident. */
  readonly megabytes: number;
}

describe('a layer of very many tiny files', function () {
  this.timeout(300_000);
  let folder: string;
  let base: string;
  let registry: TestRegistry;

  before(async () => {
    folder = await makeFolder();
    base = await encapsulate(await makeSystem(folder), folder, false);
    registry = await startRegistry({ storage: join(folder, 'registry') });
  });

  after(async () => {
    await registry?.stop();
    await rm(folder, { recursive: true });
  });

  async function pull(name: string): Promise<Pulled> {
    const repository = join(folder, name);
    await run('ostree', 'init', `--repo=${repository}`, '--mode=bare');
    const reference = `ostree-unverified-registry:${registry.host}/${name}:latest`;
    const flags = ['--quiet', '--plain-http', registry.host, '--repo', repository];
    const child = spawn(TREELINE, ['image', 'pull', ...flags, reference], { stdio: ['ignore', 'ignore', 'pipe'] });
    let [said, kilobytes] = ['', 0];
    child.stderr.setEncoding('utf8').on('data', (text: string) => (said += text));
    const closed = once(child, 'close') as Promise<[number | null]>;
    const ended = closed.then(() => true);
    for (let over = false; !over; over = await Promise.race([ended, sleep(LOOK_PERIOD_MS, false)])) {
      const status = await readFile(`/proc/${child.pid}/status`, 'utf8').catch(() => '');
      kilobytes = Math.max(kilobytes, Number(/^VmHWM:\s+(\d+)/m.exec(status)?.[1] ?? 0));
    }
    const [status] = await closed;
    return { status, said, megabytes: kilobytes / 1024 };
  }

  /** Puts an image of these layers into the registry: on the base, or instead of it. */
  async function publish(name: string, on: 'base' | 'nothing', ...streams: readonly Iterable<Buffer>[]): Promise<void> {
    const layout = join(folder, `${name}.layout`);
    await cp(base, layout, { recursive: true });
    const { manifest, config } = await readLayout(layout);
    if (on === 'nothing') [manifest.layers, config.rootfs.diff_ids] = [[], []];
    for (const stream of streams) {
      const { descriptor, diffId } = await writeLayer(layout, stream);
      manifest.layers.push(descriptor);
      config.rootfs.diff_ids.push(diffId);
      if (on === 'nothing') config.config.Labels['ostree.final-diffid'] = diffId;
    }
    await writeImage(layout, manifest, config);
    const target = `docker://${registry.host}/${name}:latest`;
    await run('skopeo', 'copy', '--quiet', '--dest-tls-verify=false', `oci:${layout}:base`, target);
    await rm(layout, { recursive: true });
  }

  it('of a derived image is imported as long as they are no more than a million', async () => {
    await publish('most', 'base', tinyFiles(998));
    const { status, said, megabytes } = await pull('most');
    assert.equal(status, 0, said);
    assert.ok(megabytes < MOST_MEMORY_MB.derived, `${megabytes} MB`);
    const repository = join(folder, 'most');
    await fsck(repository);
    const [image = ''] = (
      await run('ostree', `--repo=${repository}`, 'refs', 'ostree/container/image', '--list')
    ).split('\n');
    for (const [path, entries] of [
      ['/usr/share/many', 998],
      [`/usr/share/many/${codeOf(997)}`, IN_DIRECTORY],
    ] as const) {
      const listing = await run('ostree', `--repo=${repository}`, 'ls', image, path);
      assert.equal(listing.trim().split('\n').length, 1 + entries, path);
    }
  });

  it('of a derived image is refused by name when they are more, and leaves nothing', async () => {
    await publish('more', 'base', tinyFiles(1000));
    const { status, said, megabytes } = await pull('more');
    assert.equal(status, 1);
    assert.match(said, /layer sha256:[0-9a-f]{64}: the layer has more than 1000000 files and directories/);
    assert.ok(megabytes < MOST_MEMORY_MB.derived, `${megabytes} MB`);
    await fsck(join(folder, 'more'));
  });

  it('of a commit, and of a chunk of it, is imported in bounded memory', async () => {
    const { commit, chunk } = manyObjects();
    await publish('objects', 'nothing', commit(), chunk());
    const { status, said, megabytes } = await pull('objects');
    assert.equal(status, 0, said);
    assert.ok(megabytes < MOST_MEMORY_MB.objects, `${megabytes} MB`);
    await fsck(join(folder, 'objects'));
  });

  it('of a commit is refused by name when it has more than a million objects', async () => {
    await publish('too-many-objects', 'nothing', emptyObjects(1_000_001));
    const { status, said, megabytes } = await pull('too-many-objects');
    assert.equal(status, 1);
    assert.ok(megabytes < MOST_MEMORY_MB.objects, `${megabytes} MB`);
    assert.match(said, /layer sha256:[0-9a-f]{64}: the layer has more than 1000000 objects/);
    await fsck(join(folder, 'too-many-objects'));
  });
});

/** `directories` directories of a thousand entries each, with four contents among them, as a tar stream. */
function* tinyFiles(directories: number): Generator<Buffer> {
  const path = (entry: number): string => `usr/share/many/${codeOf(0)}/${String(entry).padStart(3, '0')}`;
  const archive = new Archive();
  for (let entry = 0; entry < IN_DIRECTORY; entry++) {
    if (entry % 4 === 0) archive.file(path(entry), '');
    else archive.symlink(path(entry), `target-${entry % 4}`);
  }
  const block = archive.unfinished();
  for (let directory = 0; directory < directories; directory++) {
    const code = Buffer.from(codeOf(directory));
    for (let at = 'usr/share/many/'.length; at < block.length; at += 512) code.copy(block, at);
    yield Buffer.from(block);
  }
  yield Buffer.alloc(1024);
}

/** A name whose bytes have the same sum for each number below a thousand: so headers keep their checksums. */
function codeOf(number: number): string {
  const digits = String(number).padStart(3, '0');
  return digits + digits.replaceAll(/\d/g, (digit) => String(9 - Number(digit)));
}

/** As an entry of the object store; its long name is divided as POSIX has it. */
function addObject(archive: Archive, checksum: string, kind: string, content: Buffer | string = ''): void {
  const tamper: MemberOptions['tamper'] = (header) => {
    header.write('ustar\u000000', 257, 'latin1');
    header.write('sysroot/ostree/repo/objects', 345, 'latin1');
  };
  archive.file(`${checksum.slice(0, 2)}/${checksum.slice(2)}.${kind}`, content, { tamper });
}

function hexOf(bytes: Buffer): string {
  return sha256(bytes).slice('sha256:'.length);
}

/** A commit of tiny files, no two alike, one half of them in its own layer and the other in a chunk. */
function manyObjects(): { readonly commit: () => Generator<Buffer>; readonly chunk: () => Generator<Buffer> } {
  const header = { uid: 0, gid: 0, mode: S_IFREG | 0o644, symlinkTarget: '', xattrs: [] };
  const checksums = Array.from({ length: 2 * OBJECTS }, (_, index) => contentChecksum(header, Buffer.from(`${index}`)));
  const metadata: (readonly [kind: string, bytes: Buffer])[] = [];
  const add = (kind: string, bytes: Buffer): string => {
    metadata.push([kind, bytes]);
    return hexOf(bytes);
  };
  const dirmeta = add('dirmeta', encodeDirectoryMetadata({ uid: 0, gid: 0, mode: 0o40755, xattrs: [] }));
  const directories = Array.from({ length: checksums.length / IN_DIRECTORY }, (_, directory) => {
    const files = Array.from({ length: IN_DIRECTORY }, (_none, index) => {
      return { name: String(index).padStart(3, '0'), checksum: checksums[directory * IN_DIRECTORY + index] ?? '' };
    });
    const dirtree = add('dirtree', encodeDirtree({ files, directories: [] }));
    return { name: String(directory).padStart(3, '0'), dirtree, dirmeta };
  });
  const dirtree = add('dirtree', encodeDirtree({ files: [], directories }));
  const commit = encodeCommit({ metadata: [], subject: '', body: '', timestamp: 0, dirtree, dirmeta });
  const files = function* (from: number): Generator<Buffer> {
    for (let at = from; at < from + OBJECTS; at += IN_DIRECTORY) {
      const archive = new Archive();
      for (let index = at; index < at + IN_DIRECTORY; index++) {
        addObject(archive, checksums[index] ?? '', 'file-xattrs-link');
        addObject(archive, checksums[index] ?? '', 'file', `${index}`);
      }
      yield archive.unfinished();
    }
    yield Buffer.alloc(1024);
  };
  return {
    commit: function* () {
      const archive = new Archive();
      addObject(archive, hexOf(commit), 'commit', commit);
      for (const [kind, bytes] of metadata) addObject(archive, hexOf(bytes), kind, bytes);
      yield archive.unfinished();
      yield* files(0);
    },
    chunk: () => files(OBJECTS),
  };
}

/** A commit that is there, and then the empty list of attributes over and over. */
function* emptyObjects(count: number): Generator<Buffer> {
  const first = new Archive();
  const [dirtree, dirmeta] = [hexOf(Buffer.of(1)), hexOf(Buffer.of(2))];
  const commit = encodeCommit({ metadata: [], subject: '', body: '', timestamp: 0, dirtree, dirmeta });
  addObject(first, hexOf(commit), 'commit', commit);
  yield first.unfinished();
  const one = new Archive();
  addObject(one, hexOf(Buffer.alloc(0)), 'file-xattrs');
  const block = Buffer.concat(Array<Buffer>(IN_DIRECTORY).fill(one.unfinished()));
  for (let done = 0; done < count; done += IN_DIRECTORY) yield block;
  yield Buffer.alloc(1024);
}

/** Compresses a tar stream into the layout without having it in memory. */
async function writeLayer(layout: string, tar: Iterable<Buffer>): Promise<Layer> {
  const [plain, compressed] = [new Passing(), new Passing()];
  const path = join(layout, 'layer');
  await pipeline(tar, plain, createGzip({ level: 1 }), compressed, createWriteStream(path));
  const digest = compressed.digest();
  await rename(path, blobPath(layout, digest));
  return { descriptor: { mediaType: MEDIA_TYPE.layerGzip, digest, size: compressed.bytes }, diffId: plain.digest() };
}

/** Counts and hashes what passes. */
class Passing extends Transform {
  bytes = 0;
  readonly #hash = createHash('sha256');

  override _transform(piece: Buffer, _encoding: string, done: (error: null, piece: Buffer) => void): void {
    this.bytes += piece.length;
    this.#hash.update(piece);
    done(null, piece);
  }

  digest(): string {
    return `sha256:${this.#hash.digest('hex')}`;
  }
}
