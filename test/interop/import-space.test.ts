import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { OstreeError } from '../../ostree/index.ts';
import { type LayoutServerOptions, startLayoutServer } from '../../testbed/layout-server.ts';
import { Archive } from '../../testbed/tar-archive.ts';
import { say } from './cli-bench.ts';
import {
  derive,
  encapsulate,
  fsck,
  type LayerCompression,
  makeFolder,
  makeSystem,
  readLayout,
  refsOf,
  run,
} from './import-fixture.ts';
import { manyFiles, ownWriter, pullFrom, withLayersBy } from './partial-fixture.ts';
import { leaveFree, onSmallDisk } from './small-disk.ts';

const MEGABYTE = 1_000_000;
const DISK_BYTES = 20 * MEGABYTE;
/** No question about a layer's size is longer. */
const LONGEST_QUESTION_BYTES = 18;

/** Text that compresses to a sixth or so, whatever the window; the same every time. */
function text(bytes: number, seed: string): string {
  const lines = Array.from({ length: Math.ceil(bytes / 256) }, (_, index) =>
    createHash('sha256').update(`${seed} ${index}`).digest('hex').repeat(4),
  );
  return lines.join('').slice(0, bytes);
}

function layer(name: string, bytes: number): Buffer {
  return new Archive().file(`usr/share/${name}`, text(bytes, name)).finish();
}

describe('the space that an image needs', () => {
  let folder: string;
  let base: string;

  before(async () => {
    folder = await makeFolder();
    base = await encapsulate(await makeSystem(folder), folder, false);
  });

  after(async () => {
    await rm(folder, { recursive: true });
  });

  async function image(name: string, layers: readonly Buffer[], compression?: LayerCompression): Promise<string> {
    return await derive(base, join(folder, name), layers, compression);
  }

  async function onDisk(
    reserve: readonly [key: string, value: string],
    use: (repository: string) => Promise<void>,
  ): Promise<void> {
    await onSmallDisk(folder, DISK_BYTES, reserve, use);
  }

  /** Everything on the disk, refs too, with size and time of change; of directories only the names. */
  async function contents(repository: string): Promise<string> {
    const format = ['-type', 'd', '-printf', '%P %y\n', '-o', '-printf', '%P %y %s %C@\n'];
    return await run('find', join(repository, '..'), ...format);
  }

  async function assertRefused(
    repository: string,
    layout: string,
    options: LayoutServerOptions = {},
  ): Promise<OstreeError> {
    await using server = await startLayoutServer(layout, options);
    let refusal: unknown;
    await pullFrom(server.host, repository).catch((error: unknown) => (refusal = error));
    assert.ok(refusal instanceof OstreeError, 'it is refused');
    assert.equal(refusal.code, 'NoSpace');
    const { manifest } = await readLayout(layout);
    const sent = server.takeCount();
    if (options.ranges !== false) {
      for (const { digest } of manifest.layers) {
        assert.ok(
          (sent.get(digest) ?? 0) <= LONGEST_QUESTION_BYTES,
          `${sent.get(digest)} bytes of ${digest} were sent`,
        );
      }
    }
    return refusal;
  }

  async function assertTaken(repository: string, layout: string): Promise<void> {
    await using server = await startLayoutServer(layout);
    await pullFrom(server.host, repository);
    await fsck(repository);
  }

  const NO_RESERVE = ['min-free-space-percent', '0'] as const;

  for (const compression of ['gzip', 'zstd', 'none'] as const) {
    it(`is foreseen for ${compression} layers: nothing is fetched, written or freed`, async () => {
      const bulky = await image(
        `bulky-${compression}`,
        [layer('a', 12 * MEGABYTE), layer('b', 12 * MEGABYTE)],
        compression,
      );
      const { manifest } = await readLayout(bulky);
      const compressed = manifest.layers.reduce((sum, { size }) => sum + size, 0);
      assert.ok(compression === 'none' || compressed < DISK_BYTES / 3, 'it would fit if it stayed compressed');
      await onDisk(NO_RESERVE, async (repository) => {
        await assertTaken(repository, base);
        await run('ostree', `--repo=${repository}`, 'refs', '--create=somebody/else', await blobName(repository));
        await writeFile(join(repository, '../foreign'), Buffer.alloc(MEGABYTE));
        await writeFile(join(repository, 'tmp/foreign'), 'not ours');
        const before = await contents(repository);
        const { space, message } = await assertRefused(repository, bulky);
        assert.equal(withoutCachedUpdate(await contents(repository)), withoutCachedUpdate(before));
        assert.ok(
          space !== undefined && space.neededBytes >= 24 * MEGABYTE && space.neededBytes < 25 * MEGABYTE,
          message,
        );
        assert.ok(space.availableBytes > 17 * MEGABYTE && space.availableBytes < DISK_BYTES, message);
        assert.match(
          message,
          /needs about 24\.\d MB .*would leave less than the 0 %.*: 1\d\.\d MB can be written; nothing was fetched\. Free \d\.\d MB/,
        );
        await fsck(repository);
      });
    });
  }

  it('does not count the layers that are there', async () => {
    const first = await image('first', [layer('a', 12 * MEGABYTE)]);
    const update = await image('update', [layer('a', 12 * MEGABYTE), layer('b', 4 * MEGABYTE)]);
    await onDisk(NO_RESERVE, async (repository) => {
      await assertTaken(repository, first);
      await writeFile(join(repository, '../ballast'), Buffer.alloc(MEGABYTE));
      await assertTaken(repository, update);
    });
  });

  it('does not count the files that are there, where a layer says which it has', async () => {
    const build = async (version: string): Promise<string> => {
      const tar = manyFiles(version)
        .reduce((archive, [path, content]) => archive.file(path, content), new Archive())
        .finish();
      const plain = await image(`files-${version}`, [tar]);
      return await withLayersBy(ownWriter, plain, join(folder, `chunked-${version}`));
    };
    const [first, second] = [await build('1'), await build('2')];
    await onDisk(NO_RESERVE, async (repository) => {
      await assertTaken(repository, first);
      // Room for a few files, not for the layer.
      await leaveFree(repository, 1.5 * MEGABYTE);
      await assertTaken(repository, second);
    });
  });

  it('has to lie beside the reserve, in per cent or in bytes', async () => {
    const modest = await image('modest', [layer('a', 8 * MEGABYTE)]);
    for (const [key, tooMuch, fitting] of [
      ['min-free-space-percent', '60', '40'],
      ['min-free-space-size', '12MB', '8MB'],
    ] as const) {
      await onDisk([key, tooMuch], async (repository) => {
        await assertRefused(repository, modest);
        await run('ostree', 'config', `--repo=${repository}`, 'set', `core.${key}`, fitting);
        await assertTaken(repository, modest);
      });
    }
  });

  it('has to lie beside what the caller wants to stay free, if that is more than the reserve', async () => {
    const modest = await image('ordered', [layer('a', 8 * MEGABYTE)]);
    await onDisk(['min-free-space-size', '1MB'], async (repository) => {
      await using server = await startLayoutServer(modest);
      await assert.rejects(pullFrom(server.host, repository, { limits: { minimumFreeBytes: 12 * MEGABYTE } }), {
        code: 'NoSpace',
        message:
          /would leave less than the 12000000 bytes that are to stay free: .*nothing was fetched\. Free .*lower the limit/,
      });
      await pullFrom(server.host, repository, { limits: { minimumFreeBytes: 8 * MEGABYTE } });
    });
  });

  it('is guessed when the registry has no parts of blobs', async () => {
    const noise = Buffer.concat(
      Array.from({ length: 9 * 31_250 }, (_, at) => createHash('sha256').update(`${at}`).digest()),
    );
    const dense = await image('dense', [new Archive().file('usr/share/noise', noise).finish()]);
    await onDisk(NO_RESERVE, async (repository) => {
      const { space } = await assertRefused(repository, dense, { ranges: false });
      assert.ok((space?.neededBytes ?? 0) > 2.5 * noise.length);
      await assertTaken(repository, dense);
    });
  });

  it('is told to programs in numbers', async () => {
    const bulky = await image('bulky', [layer('a', 24 * MEGABYTE)]);
    await onDisk(NO_RESERVE, async (repository) => {
      const { status, stderr } = await say([
        'image',
        'pull',
        '--output=json',
        '--repo',
        repository,
        `oci:${bulky}:base`,
      ]);
      assert.equal(status, 1);
      const { error } = JSON.parse(stderr) as { error: { code: string; neededBytes: number; availableBytes: number } };
      assert.equal(error.code, 'DiskFull');
      assert.ok(error.neededBytes > 24 * MEGABYTE && error.availableBytes < DISK_BYTES);
      assert.deepEqual(await readdir(join(repository, 'refs/heads')), []);
    });
  });
});

/** Of a layer that is there, as in its ref. */
async function blobName(repository: string): Promise<string> {
  const [name = ''] = (await refsOf(repository, 'ostree/container/blob')).keys();
  return name;
}

/** That there is something new is noted at the image that is there, whether it fits or not. */
function withoutCachedUpdate(listing: string): string {
  return listing
    .split('\n')
    .filter((line) => !/\.commitmeta /.test(line))
    .sort()
    .join('\n');
}
