/** Images that are made to hurt: each costs little and ends in a named error, with a clean repository. */
import assert from 'node:assert/strict';
import { cp, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { encodeCommit } from '../../ostree/objects/commit.ts';
import { encodeDirectoryMetadata } from '../../ostree/objects/dirmeta.ts';
import { encodeDirtree } from '../../ostree/objects/dirtree.ts';
import { ImportError, OstreeError } from '../../ostree/index.ts';
import { Archive } from '../../testbed/tar-archive.ts';
import {
  addLayer,
  blobPath,
  derive,
  encapsulate,
  fsck,
  makeFolder,
  makeSystem,
  pull,
  readLayout,
  refsOf,
  sha256,
  writeImage,
} from './import-fixture.ts';

/** Far above what refusing takes, far below what giving in would. */
const MAX_SECONDS = 30;

describe('an image that is made to hurt is refused by name, soon, and leaves a clean repository:', () => {
  let folder: string;
  let base: string;
  let count = 0;

  before(async () => {
    folder = await makeFolder();
    base = await encapsulate(await makeSystem(folder), folder, false);
  });

  after(async () => {
    await rm(folder, { recursive: true });
  });

  async function refuses(layout: string, code: string, message: RegExp, kind = 'ImportError'): Promise<void> {
    const path = join(folder, `repo-${count++}`);
    const started = performance.now();
    await assert.rejects(pull(path, layout), (error) => {
      assert.ok(error instanceof ImportError || error instanceof OstreeError, String(error));
      assert.deepEqual([error.name, error.code], [kind, code], error.message);
      assert.match(error.message, message);
      assert.ok(error.message.length < 1000, 'a message that can be read');
      return true;
    });
    assert.ok(performance.now() - started < MAX_SECONDS * 1000, 'soon');
    await fsck(path);
    assert.equal((await refsOf(path, 'ostree/container/image')).size, 0);
  }

  async function layerOf(...archives: readonly (Archive | Buffer)[]): Promise<string> {
    const tars = archives.map((archive) => (archive instanceof Archive ? archive.finish() : archive));
    return await derive(base, join(folder, `image-${count++}`), tars);
  }

  /** The base image with an object of its commit layer's own making. */
  async function encapsulating(objects: Archive): Promise<string> {
    const layout = join(folder, `image-${count++}`);
    await cp(base, layout, { recursive: true });
    const { manifest, config } = await readLayout(layout);
    const tar = objects.finish();
    manifest.layers = [await addLayer(layout, tar, 'gzip')];
    config.rootfs.diff_ids = [sha256(tar)];
    config.config.Labels['ostree.final-diffid'] = sha256(tar);
    await writeImage(layout, manifest, config);
    return layout;
  }

  for (const [name, archive, message] of [
    ['a path that climbs', new Archive().file('usr/../../x', 'x'), /'\.\.' in its path/],
    ['a hardlink that climbs', new Archive().hardlink('usr/x', '../../etc/shadow'), /'\.\.' in its path/],
    [
      'a path through a link of its own',
      new Archive().symlink('usr/l', '/etc').file('usr/l/passwd', 'x'),
      /lies below l/,
    ],
    ['a hardlink to nothing', new Archive().hardlink('usr/a', 'usr/nothing'), /usr\/nothing, which the layer lacks/],
    [
      'hardlinks in a circle',
      new Archive().hardlink('usr/a', 'usr/b').hardlink('usr/b', 'usr/a'),
      /which the layer lacks/,
    ],
    ['a hardlink to a directory', new Archive().directory('usr/d').hardlink('usr/a', 'usr/d'), /which the layer lacks/],
    ['a hardlink to the host', new Archive().hardlink('usr/a', '/boot/id'), /cannot be part of an OSTree commit/],
    ['a block device', new Archive().add('usr/sda', { type: '4' }), /block-device/],
    ['a FIFO', new Archive().add('usr/fifo', { type: '6' }), /fifo/],
    ['a name that is not UTF-8', new Archive().add(Buffer.from('usr/\xff\xfe', 'latin1')), /not UTF-8/],
    ['a name with NUL', new Archive().file('x', '', { pax: { path: 'usr/a\0b' } }), /malformed PAX/],
    ['a name that is too long', new Archive().file(`usr/${'n'.repeat(256)}`, ''), /name of 256 bytes/],
    ['a path that is too long', new Archive().file(`usr/${'nn/'.repeat(1500)}x`, ''), /path of 45\d\d bytes/],
    ['a link that points too far', new Archive().symlink('usr/l', 'x'.repeat(5000)), /target of 5000 bytes/],
    ['directories 20,000 deep', new Archive().file(`usr/${'d/'.repeat(20_000)}x`, ''), /path of 400\d\d bytes/],
    ['a negative owner', new Archive().file('usr/x', '', { uid: -1 }), /uid -1/],
    ['an owner beyond 32 bits', new Archive().file('usr/x', '', { pax: { uid: '4294967296' } }), /uid 4294967296/],
    ['a size beyond all numbers', new Archive().file('usr/x', '', { pax: { size: '9'.repeat(30) } }), /malformed PAX/],
    [
      'a size beyond the layer',
      new Archive().bytes(new Archive().file('usr/x', 'y', { claimedSize: 5000 }).unfinished()),
      /ends in the middle/,
    ],
    [
      'an attribute that is too large',
      new Archive().file('usr/x', '', { xattrs: { 'user.x': Buffer.alloc(70_000, 'x') } }),
      /user\.x of 70000 bytes/,
    ],
    [
      'too many attributes',
      new Archive().file('usr/x', '', {
        xattrs: Object.fromEntries(Array.from({ length: 8000 }, (_, at) => [`user.${at}`, 'x'])),
      }),
      /8000 extended attributes/,
    ],
    [
      'a sparse file of a petabyte',
      new Archive().file('usr/x', '', { pax: { 'GNU.sparse.size': String(2 ** 50), 'GNU.sparse.map': '' } }),
      /sparse file of 1125899906842624 bytes/,
    ],
    ['a whiteout of nothing', new Archive().file('usr/.wh.', ''), /names no file/],
  ] as const) {
    it(name, async () => {
      await refuses(await layerOf(archive), 'InvalidLayer', message);
    });
  }

  it('directories of the commit that are deeper than any path', async () => {
    const metadata = encodeDirectoryMetadata({ uid: 0, gid: 0, mode: 0o40755, xattrs: [] });
    const dirmeta = sha256(metadata).slice('sha256:'.length);
    const objects: [string, Buffer][] = [];
    const add = (kind: string, bytes: Buffer): string => {
      const checksum = sha256(bytes).slice('sha256:'.length);
      objects.push([`sysroot/ostree/repo/objects/${checksum.slice(0, 2)}/${checksum.slice(2)}.${kind}`, bytes]);
      return checksum;
    };
    let dirtree = add('dirtree', encodeDirtree({ files: [], directories: [] }));
    for (let depth = 0; depth < 3000; depth++) {
      dirtree = add('dirtree', encodeDirtree({ files: [], directories: [{ name: 'd', dirtree, dirmeta }] }));
    }
    add('dirmeta', metadata);
    add('commit', encodeCommit({ metadata: [], subject: '', body: '', timestamp: 0, dirtree, dirmeta }));
    const archive = new Archive();
    for (const [path, bytes] of objects.toReversed()) archive.file(path, bytes);
    await refuses(await encapsulating(archive), 'InvalidImage', /paths of more than 4095 bytes/);
  });

  it('a layer of the base that is another archive within', async () => {
    const tar = gunzipSync(await readFile(blobPath(base, (await readLayout(base)).manifest.layers[0]!.digest)));
    const archive = new Archive()
      .bytes(tar.subarray(0, tar.length - 1024))
      .file('sysroot/ostree/repo/objects/zz/x', '');
    await refuses(await encapsulating(archive), 'InvalidLayer', /not the name of an OSTree object/);
  });
});
