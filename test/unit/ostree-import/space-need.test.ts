import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { requireSpace, type SpaceNeed } from '../../../ostree/import/space-need.ts';
import { freeBeside } from '../../../ostree/repository/free-space.ts';
import { Repository } from '../../../ostree/repository/repository.ts';
import { MEDIA_TYPE } from '../../../registry/oci.ts';

const MEGABYTE = 1_000_000;

describe('the look at what layers need', () => {
  let folder: string;
  let repository: Repository;

  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'treeline-space-need-'));
    repository = Repository.create(join(folder, 'repo'), 'bare');
  });

  after(() => rmSync(folder, { recursive: true }));

  /** Which layers a registry is asked about that says of each that it holds `ratio` times its size. */
  async function asked(sizes: readonly number[], room: number, ratio: number): Promise<readonly number[]> {
    const looked: number[] = [];
    const source = {
      openRange: async function* ({ size }: { size: number }) {
        looked.push(size);
        const trailer = Buffer.alloc(4);
        trailer.writeUInt32LE(Math.ceil((size * ratio) / 512) * 512);
        yield trailer;
      },
    } as unknown as SpaceNeed['source'];
    const layers = sizes.map((size, index) => ({
      descriptor: { mediaType: MEDIA_TYPE.layerGzip, size, digest: `sha256:${String(index).padStart(64, '0')}` },
      diffId: `sha256:${String(index).padStart(64, 'a')}`,
    }));
    const minimumFree = freeBeside(repository.path, { percent: 0 }) - room;
    const lacking = (): Promise<undefined> => Promise.resolve(undefined);
    const need = {
      name: 'an image',
      repository,
      source,
      storedBlobs: undefined,
      lacking,
      minimumFree,
      signal: undefined,
    };
    await requireSpace(need, layers);
    return looked;
  }

  it('goes no further than the largest, where there is room for the others then, whatever they are', async () => {
    const sizes = [...Array.from({ length: 60 }, () => 6 * MEGABYTE), 90 * MEGABYTE];
    const looked = await asked(sizes, 2500 * MEGABYTE, 2);
    assert.equal(looked[0], 90 * MEGABYTE, 'the largest first');
    assert.ok(looked.length <= 8, `${looked.length} of ${sizes.length} were asked about`);
  });

  it('goes on to the last where there is not', async () => {
    const sizes = Array.from({ length: 20 }, (_, index) => (index + 1) * 10 * MEGABYTE);
    const looked = await asked(sizes, 5400 * MEGABYTE, 2.5);
    assert.equal(looked.length, sizes.length);
  });

  it('refuses layers of which each fits, and not all do', async () => {
    const sizes = Array.from({ length: 20 }, () => 100 * MEGABYTE);
    await assert.rejects(asked(sizes, 5000 * MEGABYTE, 3), { code: 'NoSpace' });
  });
});
