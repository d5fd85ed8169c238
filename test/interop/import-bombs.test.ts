/** A few kilobytes that are gigabytes once decompressed: refused by name, soon, wherever in an image they lie. */
import assert from 'node:assert/strict';
import { cp, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { createZstdCompress, constants, gunzipSync, gzipSync, zstdCompressSync } from 'node:zlib';
import { ImportError, OstreeError } from '../../ostree/index.ts';
import { MEDIA_TYPE } from '../../registry/index.ts';
import { Archive } from '../../testbed/tar-archive.ts';
import {
  addBlob,
  addLayer,
  blobPath,
  derive,
  encapsulate,
  fsck,
  makeFolder,
  makeSystem,
  type OciManifest,
  pull,
  readLayout,
  refsOf,
  sha256,
  writeImage,
} from './import-fixture.ts';
import { onSmallDisk } from './small-disk.ts';

/** Far above what refusing takes, far below what giving in would. */
const MAX_SECONDS = 30;
const MEMBER_BYTES = 64 * 1024 * 1024;
/** Together 32 GiB. */
const MEMBERS = 512;
const SMALL_DISK_BYTES = 32_000_000;
const TAR_END_BYTES = 1024;
/** An object's name for content that nobody has. */
const OBJECT = `sysroot/ostree/repo/objects/00/${'0'.repeat(62)}.file`;

type Compress = (bytes: Buffer) => Buffer;
type Role = 'base' | 'chunk' | 'derived';

const COMPRESSIONS: readonly (readonly [name: string, mediaType: string, compress: Compress])[] = [
  ['gzip', MEDIA_TYPE.layerGzip, (bytes) => gzipSync(bytes, { level: 9 })],
  ['zstd', MEDIA_TYPE.layerZstd, (bytes) => zstdCompressSync(bytes)],
];

describe('a layer that is made to fill memory, disk or time is refused by name, soon, and leaves a clean repository:', () => {
  let folder: string;
  /** Images of one layer, and of several. */
  let single: string;
  let chunked: string;
  let count = 0;
  const fresh = (name: string): string => join(folder, `${name}-${++count}`);

  before(async () => {
    folder = await makeFolder();
    const system = await makeSystem(folder);
    single = await encapsulate(system, folder, false);
    chunked = await encapsulate(system, folder, true);
  });

  after(async () => {
    await rm(folder, { recursive: true });
  });

  interface Bomb {
    /** What the tar stream begins with; the layer's own entries, without the end, unless given. */
    readonly begin?: Buffer;
    /** Zeros that follow. */
    readonly members?: number;
  }

  /** An image whose layer of that role goes on with zeros. */
  async function imageWith(
    role: Role,
    [, mediaType, compress]: (typeof COMPRESSIONS)[number],
    { begin, members = MEMBERS }: Bomb,
  ): Promise<string> {
    const layout = fresh('image');
    await cp(role === 'base' ? single : chunked, layout, { recursive: true });
    const { manifest, config } = await readLayout(layout);
    const at = role === 'base' ? 0 : role === 'chunk' ? 1 : manifest.layers.length;
    const own = async (layer: OciManifest['layers'][number]): Promise<Buffer> =>
      gunzipSync(await readFile(blobPath(layout, layer.digest)));
    const layer = manifest.layers[at];
    const tar = begin ?? (layer === undefined ? new Archive().file('usr/x', 'x').finish() : await own(layer));
    const zeros = compress(Buffer.alloc(MEMBER_BYTES));
    const blob = Buffer.concat([compress(tar), ...Array<Buffer>(members).fill(zeros)]);
    manifest.layers[at] = { mediaType, ...(await addBlob(layout, blob)) };
    const diffId = sha256(Buffer.from('never computed'));
    // The label says which is the last layer of the commit.
    if (config.config.Labels['ostree.final-diffid'] === config.rootfs.diff_ids[at]) {
      config.config.Labels['ostree.final-diffid'] = diffId;
    }
    config.rootfs.diff_ids[at] = diffId;
    await writeImage(layout, manifest, config);
    return layout;
  }

  async function refuses(layout: string, code: string, message: RegExp, path = fresh('repo')): Promise<void> {
    const started = performance.now();
    await assert.rejects(pull(path, layout), (error) => {
      assert.ok(error instanceof ImportError || error instanceof OstreeError, String(error));
      assert.equal(error.code, code, error.message);
      assert.match(error.message, message);
      return true;
    });
    assert.ok(performance.now() - started < MAX_SECONDS * 1000, 'soon');
    await fsck(path);
    assert.equal((await refsOf(path, 'ostree/container/image')).size, 0);
  }

  for (const compression of COMPRESSIONS) {
    const [name] = compression;
    for (const [role, where] of [
      ['base', 'the layer of the commit'],
      ['chunk', 'a layer of its objects'],
      ['derived', 'a layer on top'],
    ] as const) {
      it(`a ${name} bomb behind the end of the archive of ${where}`, async () => {
        await refuses(await imageWith(role, compression, {}), 'InvalidLayer', /expands to more than \d+ bytes/);
      });
    }

    it(`a ${name} bomb as a file that is not kept`, async () => {
      const begin = new Archive()
        .file('run/x', '', { claimedSize: MEMBERS * MEMBER_BYTES - TAR_END_BYTES })
        .unfinished();
      await refuses(
        await imageWith('derived', compression, { begin }),
        'InvalidLayer',
        /expands to more than \d+ bytes/,
      );
    });

    for (const [role, path] of [
      ['chunk', OBJECT],
      ['derived', 'usr/lib/x'],
    ] as const) {
      it(`a ${name} bomb as a file of a ${role} layer: what the disk has no room for is not begun`, async () => {
        // Half of what a layer may have in any case.
        const members = 8;
        const begin = new Archive()
          // What an object's attributes are comes before it: none.
          .file(role === 'chunk' ? `${OBJECT}-xattrs-link` : 'usr/lib/before', '')
          .file(path, '', { claimedSize: members * MEMBER_BYTES - TAR_END_BYTES })
          .unfinished();
        const layout = await imageWith(role, compression, { begin, members });
        await onSmallDisk(folder, SMALL_DISK_BYTES, ['min-free-space-percent', '0'], async (repository) => {
          await refuses(layout, 'NoSpace', /would leave less|is full/, repository);
        });
      });
    }
  }

  it('a zstd window that takes more memory than any writer of images wants', async () => {
    const tar = new Archive().file('usr/x', 'x').finish();
    const layout = await derive(single, fresh('image'), []);
    const { manifest, config } = await readLayout(layout);
    manifest.layers.push({ mediaType: MEDIA_TYPE.layerZstd, ...(await addBlob(layout, await withWindow(tar, 26))) });
    config.rootfs.diff_ids.push(sha256(tar));
    await writeImage(layout, manifest, config);
    await refuses(layout, 'InvalidLayer', /its zstd window is larger than the 32 MiB.*--long=25/);
  });

  it('but no zstd window that writers of images take', async () => {
    const tar = new Archive().file('usr/x', 'x').finish();
    const layout = await derive(single, fresh('image'), []);
    const { manifest, config } = await readLayout(layout);
    const plain = await addLayer(layout, tar, 'zstd');
    manifest.layers.push({ ...plain, ...(await addBlob(layout, await withWindow(tar, 25))) });
    config.rootfs.diff_ids.push(sha256(tar));
    await writeImage(layout, manifest, config);
    await pull(fresh('repo'), layout);
  });
});

/** A frame that does not say how large its content is has the window in its header. */
async function withWindow(bytes: Buffer, log: number): Promise<Buffer> {
  const compressor = createZstdCompress({ params: { [constants.ZSTD_c_windowLog]: log } });
  // In two writes: what comes in one is known to be all.
  compressor.write(bytes.subarray(0, 1));
  compressor.end(bytes.subarray(1));
  const pieces: Buffer[] = [];
  for await (const piece of compressor as AsyncIterable<Buffer>) pieces.push(piece);
  return Buffer.concat(pieces);
}
