/** What pulls keep of large blobs, where space is short: it gives way to layers, and never the other way round. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { closeSync, existsSync, openSync, readdirSync } from 'node:fs';
import { cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { OstreeError, type PulledImage, pullImage, Repository } from '../../ostree/index.ts';
import { tryLock } from '../../ostree/posix/file-lock.ts';
import { MEDIA_TYPE, openImageSource, parseOstreeImageReference } from '../../registry/index.ts';
import { LayoutRegistry } from '../../testbed/layout-registry.ts';
import { initialiseSysroot } from '../../testbed/sysroot.ts';
import { Archive } from '../../testbed/tar-archive.ts';
import { say } from './cli-bench.ts';
import {
  addBlob,
  blobPath,
  derive,
  encapsulate,
  fsck,
  makeFolder,
  makeSystem,
  PLATFORM,
  readLayout,
  sha256,
  writeImage,
} from './import-fixture.ts';
import { leaveFree, onSmallDisk } from './small-disk.ts';

const MEGABYTE = 1_000_000;
const DISK_BYTES = 24 * MEGABYTE;
/** Slow enough that parts are kept. */
const SLOW_BYTES_PER_SECOND = 8 * MEGABYTE;
/** Of a blob that no image here has. */
const OTHER = `sha256-${'a'.repeat(64)}`;
const NO_RESERVE = ['min-free-space-percent', '0'] as const;

/** Bytes that do not compress, the same every time. */
function noise(bytes: number, seed: string): Buffer {
  const blocks = Array.from({ length: Math.ceil(bytes / 32) }, (_, at) =>
    createHash('sha256').update(`${seed} ${at}`).digest(),
  );
  return Buffer.concat(blocks).subarray(0, bytes);
}

describe('what pulls have kept of blobs, on a small disk', () => {
  let folder: string;
  let registry: LayoutRegistry;
  /** Images with one more layer: a file of 9 MB; files of 5 and 6 MB; the same, and the layer looks like 6 MB. */
  const layers = { single: '', pair: '', sly: '' };

  before(async () => {
    folder = await makeFolder();
    const base = await encapsulate(await makeSystem(folder), folder, false);
    const single = new Archive().file('usr/lib/single', noise(9 * MEGABYTE, 'single')).finish();
    const first = new Archive().file('usr/lib/first', noise(5 * MEGABYTE, 'first')).unfinished();
    const second = new Archive().file('usr/lib/second', 'x'.repeat(6 * MEGABYTE)).finish();
    const layouts = {
      single: await derive(base, join(folder, 'image-single'), [single]),
      pair: await derive(base, join(folder, 'image-pair'), [Buffer.concat([first, second])]),
      sly: join(folder, 'image-sly'),
    };
    // gzip has the size of its last member at its end, which is all that an estimate looks at.
    await cp(base, layouts.sly, { recursive: true });
    const { manifest, config } = await readLayout(layouts.sly);
    const blob = await addBlob(layouts.sly, Buffer.concat([gzipSync(first), gzipSync(second)]));
    manifest.layers.push({ mediaType: MEDIA_TYPE.layerGzip, ...blob });
    config.rootfs.diff_ids.push(sha256(Buffer.concat([first, second])));
    await writeImage(layouts.sly, manifest, config);
    for (const name of ['single', 'pair', 'sly'] as const) {
      layers[name] = (await readLayout(layouts[name])).manifest.layers.at(-1)!.digest;
    }
    registry = await LayoutRegistry.start({ layouts });
  });

  after(async () => {
    await registry?.[Symbol.asyncDispose]();
    await rm(folder, { recursive: true });
  });

  beforeEach(() => {
    registry.blobsRequested.length = 0;
    registry.bytesPerSecond = undefined;
  });

  async function onDisk(use: (repository: string) => Promise<void>): Promise<void> {
    await onSmallDisk(folder, DISK_BYTES, NO_RESERVE, use);
  }

  async function pull(path: string, image: keyof typeof layers): Promise<PulledImage> {
    const reference = parseOstreeImageReference(`ostree-unverified-registry:${registry.host}/${image}:latest`);
    await using source = openImageSource(reference.image, { plainHttpHosts: [registry.host] });
    return await pullImage({ repository: Repository.open(path), source, reference, platform: PLATFORM });
  }

  async function take(repository: string, image: keyof typeof layers): Promise<void> {
    await pull(repository, image);
    await fsck(repository);
    assert.deepEqual(keptIn(repository), [], 'nothing stays kept');
  }

  async function assertRefused(repository: string, image: keyof typeof layers): Promise<OstreeError> {
    let refusal: unknown;
    await pull(repository, image).catch((error: unknown) => (refusal = error));
    assert.ok(refusal instanceof OstreeError, String(refusal));
    assert.equal(refusal.code, 'NoSpace');
    return refusal;
  }

  /** How often the layer was asked for, after the one question about its size. */
  function timesFetched(image: keyof typeof layers): number {
    return registry.blobsRequested.filter((digest) => digest === layers[image]).length - 1;
  }

  async function keep(repository: string, name: string, bytes: Buffer): Promise<string> {
    const path = join(repository, 'tmp/treeline-blobs', name);
    await mkdir(join(path, '..'), { recursive: true });
    await writeFile(path, bytes);
    return path;
  }

  /** As a pull that was cut off has kept it. */
  async function keepPartOf(repository: string, image: 'single', bytes: number): Promise<string> {
    const blob = await readFile(blobPath(join(folder, `image-${image}`), layers[image]));
    return await keep(repository, layers[image].replace(':', '-'), blob.subarray(0, bytes));
  }

  it('gives way to an image that it is of no use to, even if that image will not fit', async () => {
    await onDisk(async (repository) => {
      await keep(repository, OTHER, Buffer.alloc(10 * MEGABYTE));
      await leaveFree(repository, 4 * MEGABYTE);
      await take(repository, 'single');
    });
    await onDisk(async (repository) => {
      await keep(repository, OTHER, Buffer.alloc(3 * MEGABYTE));
      await leaveFree(repository, 4 * MEGABYTE);
      const { space } = await assertRefused(repository, 'single');
      assert.deepEqual(keptIn(repository), []);
      assert.ok(space !== undefined && space.availableBytes > 6.5 * MEGABYTE);
    });
  });

  it('stays, and counts as taken, while another pull uses it', async () => {
    await onDisk(async (repository) => {
      const other = await keep(repository, OTHER, Buffer.alloc(10 * MEGABYTE));
      await leaveFree(repository, 4 * MEGABYTE);
      const fd = openSync(other, 'r+');
      try {
        assert.ok(tryLock(fd, 'exclusive'));
        const { space } = await assertRefused(repository, 'single');
        assert.ok(space !== undefined && space.availableBytes < 5 * MEGABYTE);
        assert.deepEqual(keptIn(repository), [OTHER]);
      } finally {
        closeSync(fd);
      }
      await take(repository, 'single');
    });
  });

  it('is used where there is room for the layer beside it', async () => {
    await onDisk(async (repository) => {
      await keepPartOf(repository, 'single', 8 * MEGABYTE);
      await leaveFree(repository, 10 * MEGABYTE);
      const { bytesFetched } = await pull(repository, 'single');
      assert.ok(bytesFetched < 3 * MEGABYTE, `${bytesFetched} bytes were fetched`);
    });
  });

  it('gives way to its own layer where only that makes room, and stays where that does not', async () => {
    await onDisk(async (repository) => {
      const kept = await keepPartOf(repository, 'single', 8 * MEGABYTE);
      await leaveFree(repository, 0.3 * MEGABYTE);
      const { space } = await assertRefused(repository, 'single');
      assert.ok(space !== undefined && space.availableBytes > 8 * MEGABYTE, 'it counts as free');
      assert.ok(existsSync(kept));
      await leaveFree(repository, 4 * MEGABYTE);
      await take(repository, 'single');
    });
  });

  it('is never more than what the layers leave', async () => {
    await onDisk(async (repository) => {
      await leaveFree(repository, 13.5 * MEGABYTE);
      registry.bytesPerSecond = SLOW_BYTES_PER_SECOND;
      await take(repository, 'pair');
      assert.equal(timesFetched('pair'), 1);
    });
  });

  it('gives way in the middle, once, when a layer is larger than it looked', async () => {
    await onDisk(async (repository) => {
      await leaveFree(repository, 13.5 * MEGABYTE);
      registry.bytesPerSecond = SLOW_BYTES_PER_SECOND;
      await take(repository, 'sly');
      assert.equal(timesFetched('sly'), 2);
    });
    await onDisk(async (repository) => {
      await leaveFree(repository, 10.5 * MEGABYTE);
      registry.bytesPerSecond = SLOW_BYTES_PER_SECOND;
      await assertRefused(repository, 'sly');
      assert.deepEqual(keptIn(repository), []);
    });
  });

  it('goes with `image prune --and-layers`, unless a pull uses it', async () => {
    const sysroot = join(folder, 'sysroot');
    await initialiseSysroot(sysroot, 'test');
    const repository = join(sysroot, 'ostree/repo');
    const used = await keep(repository, `sha256-${'b'.repeat(64)}`, Buffer.alloc(MEGABYTE));
    await keep(repository, OTHER, Buffer.alloc(3 * MEGABYTE));
    const prune = async (...flags: readonly string[]): Promise<{ bytes: number }> => {
      const { status, stdout, stderr } = await say(['image', 'prune', '--sysroot', sysroot, '--output=json', ...flags]);
      assert.equal(status, 0, stderr);
      return JSON.parse(stdout) as { bytes: number };
    };
    const fd = openSync(used, 'r+');
    try {
      assert.ok(tryLock(fd, 'exclusive'));
      await prune();
      assert.equal(keptIn(repository).length, 2, 'without the flag only images go');
      const { bytes } = await prune('--and-layers');
      assert.ok(bytes >= 3 * MEGABYTE && bytes < 3.5 * MEGABYTE, `${bytes}`);
      assert.deepEqual(keptIn(repository), [`sha256-${'b'.repeat(64)}`]);
    } finally {
      closeSync(fd);
    }
    await prune('--full');
    assert.deepEqual(keptIn(repository), []);
  });
});

function keptIn(repository: string): readonly string[] {
  const kept = join(repository, 'tmp/treeline-blobs');
  return existsSync(kept) ? readdirSync(kept) : [];
}
