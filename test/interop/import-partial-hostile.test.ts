/** zstd:chunked layers that are made to expand for days: refused by name, soon, and never fetched whole for it. */
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { zstdCompressSync } from 'node:zlib';
import type { PullOptions } from '../../ostree/index.ts';
import { MEDIA_TYPE } from '../../registry/index.ts';
import { startLayoutServer } from '../../testbed/layout-server.ts';
import { encodeZstdChunked, type Toc, type ZstdChunkedLayer } from '../../testbed/zstd-chunked.ts';
import {
  addBlob,
  derive,
  encapsulate,
  fsck,
  makeFolder,
  makeSystem,
  readLayout,
  refsOf,
  run,
  sha256,
  writeImage,
} from './import-fixture.ts';
import { applicationLayer, pullFrom } from './partial-fixture.ts';

/** Far above what refusing takes, far below what giving in would. */
const MAX_SECONDS = 30;
const BOMB_PART_BYTES = 64 * 1024 * 1024;
/** Together 32 GiB. */
const BOMB_PARTS = 512;
const ANNOTATION = 'io.github.containers.zstd-chunked.';

describe('a zstd:chunked layer that expands as no layer does is refused in parts as it is whole:', () => {
  let folder: string;
  let base: string;
  /** A repository with an image whose files the hostile layer has, too. */
  let stored: string;
  let count = 0;
  const fresh = (name: string): string => join(folder, `${name}-${++count}`);

  before(async () => {
    folder = await makeFolder();
    base = await encapsulate(await makeSystem(folder), folder, false);
    stored = fresh('stored');
    await using server = await startLayoutServer(await derive(base, fresh('image'), [applicationLayer('1')]));
    await pullFrom(server.host, stored);
  });

  after(async () => {
    await rm(folder, { recursive: true });
  });

  async function refuses({ blob, annotations }: ZstdChunkedLayer, options: Partial<PullOptions> = {}): Promise<void> {
    const layout = await derive(base, fresh('image'), []);
    const { manifest, config } = await readLayout(layout);
    const layer = { mediaType: MEDIA_TYPE.layerZstd, ...(await addBlob(layout, blob)), annotations };
    manifest.layers.push(layer);
    config.rootfs.diff_ids.push(sha256(Buffer.from('never computed')));
    await writeImage(layout, manifest, config);
    const path = fresh('repository');
    await run('cp', '-a', stored, path);
    const before = await refsOf(path, 'ostree/container/blob');
    const warnings: string[] = [];
    await using server = await startLayoutServer(layout);
    const started = performance.now();
    const onWarning = (warning: string): number => warnings.push(warning);
    await assert.rejects(pullFrom(server.host, path, { ...options, onWarning }), {
      name: 'ImportError',
      code: 'InvalidLayer',
      message: new RegExp(`^layer ${layer.digest} expands to more than \\d+ bytes`),
    });
    assert.ok(performance.now() - started < MAX_SECONDS * 1000, 'soon');
    assert.deepEqual(warnings, []);
    const sent = server.takeCount().get(layer.digest) ?? 0;
    assert.ok(sent < blob.length * 0.7, `${sent} of ${blob.length} bytes were sent`);
    assert.deepEqual(await refsOf(path, 'ostree/container/blob'), before);
    assert.deepEqual(
      readdirSync(join(path, 'tmp')).filter((name) => name.startsWith('staging-') && !name.endsWith('-lock')),
      [],
    );
    await fsck(path);
  }

  const isContent = ({ type, size = 0 }: Toc['entries'][number]): boolean => type === 'reg' && size > 10_000;
  for (const tarSplit of [true, false]) {
    const apart = tarSplit ? '' : ', without a copy of the tar headers';
    it(`a file of a petabyte in its table of contents${apart}`, async () => {
      await refuses(
        encodeZstdChunked(applicationLayer('2'), {
          tarSplit,
          lie: ({ entries }) => (entries.find(isContent)!.size = 2 ** 50),
        }),
      );
    });

    it(`files that are too large only together${apart}`, async () => {
      await refuses(
        encodeZstdChunked(applicationLayer('2'), {
          tarSplit,
          lie: ({ entries }) => entries.filter(isContent).forEach((entry) => (entry.size = 2 ** 27)),
        }),
      );
    });
  }

  it('headers that are an exabyte', async () => {
    const { blob, annotations } = encodeZstdChunked(applicationLayer('2'));
    const [at, length] = annotations[`${ANNOTATION}tarsplit-position`]!.split(':');
    await refuses({
      blob,
      annotations: { ...annotations, [`${ANNOTATION}tarsplit-position`]: `${at}:${length}:${2 ** 53 - 1}` },
    });
  });

  for (const unpack of ['in-process', 'confined'] as const) {
    it(`a bomb between its files, unpacked ${unpack}`, async () => {
      const { blob, annotations } = encodeZstdChunked(applicationLayer('2'), { tarSplit: false });
      const [at, ...others] = annotations[`${ANNOTATION}manifest-position`]!.split(':');
      // In front of the skippable frame with the table.
      const dataEnd = Number(at) - 8;
      const bomb = Buffer.concat(Array<Buffer>(BOMB_PARTS).fill(zstdCompressSync(Buffer.alloc(BOMB_PART_BYTES))));
      const position = [Number(at) + bomb.length, ...others].join(':');
      await refuses(
        {
          blob: Buffer.concat([blob.subarray(0, dataEnd), bomb, blob.subarray(dataEnd)]),
          annotations: { ...annotations, [`${ANNOTATION}manifest-position`]: position },
        },
        { unpack },
      );
    });
  }
});
