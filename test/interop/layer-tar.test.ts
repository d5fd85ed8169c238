import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { deflateRawSync, gzipSync, zstdCompressSync } from 'node:zlib';
import { array, assert as assertProperty, asyncProperty, integer, uint8Array } from 'fast-check';
import type { Compression } from '../../ostree/import/compression.ts';
import { createIsalInflater } from '../../ostree/import/isal.ts';
import { openLayerTar } from '../../ostree/import/layer-tar.ts';

const DIGEST = 'sha256:layer';
const TEXT = Buffer.concat([randomBytes(300_000), Buffer.alloc(1_000_000, 'easily compressed '), randomBytes(70_000)]);

/** The blob in chunks of `size`; the memory of each is taken away when the next is asked for, as that of a socket is. */
async function* inChunks(blob: Buffer, size: number, then?: Error): AsyncGenerator<Buffer> {
  for (let at = 0; at < blob.length; at += size) {
    const memory = new Uint8Array(blob.subarray(at, at + size)).buffer;
    yield Buffer.from(memory);
    memory.transfer(0);
  }
  if (then !== undefined) throw then;
}

async function readAll(
  bytes: AsyncIterable<Buffer>,
  how: { createInflater?: typeof createIsalInflater; compression?: Compression; target?: number; diffId?: string } = {},
): Promise<Buffer> {
  const { createInflater, compression = 'gzip', target = 65_536, diffId } = how;
  const layer = { digest: DIGEST, compression, bytes, ...(diffId !== undefined && { diffId }) };
  const read = openLayerTar(layer, () => false, createInflater);
  const pieces: Buffer[] = [];
  const memory = Buffer.from(new SharedArrayBuffer(target));
  for (let count = await read(memory); count > 0; count = await read(memory)) {
    pieces.push(Buffer.from(memory.subarray(0, count)));
  }
  assert.equal(await read(memory).catch(() => 0), 0, 'the end stays the end');
  return Buffer.concat(pieces);
}

function flipped(blob: Buffer, at: number): Buffer {
  const copy = Buffer.from(blob);
  copy[at] = (copy[at] ?? 0) ^ 1;
  return copy;
}

for (const [name, createInflater] of [
  ['ISA-L', createIsalInflater],
  ['zlib', () => undefined],
] as const) {
  describe(`a gzip layer read with ${name}`, () => {
    it('is read with what this test is about', () => {
      assert.equal(createInflater() === undefined, name === 'zlib', 'libisal2 is installed by the set-up');
    });

    it('is what was compressed, however the blob is cut and whatever the target’s size', async () => {
      const blob = gzipSync(TEXT);
      for (const [chunk, target] of [
        [blob.length, TEXT.length],
        [1 << 16, 1 << 19],
        [977, 65_536],
        [1, 512],
      ] as const) {
        const bytes = chunk === 1 ? inChunks(blob.subarray(0, 0), 1) : inChunks(blob, chunk);
        if (chunk !== 1)
          assert.ok((await readAll(bytes, { createInflater, target })).equals(TEXT), `chunks of ${chunk}`);
      }
      const small = Buffer.from('byte by byte');
      assert.ok((await readAll(inChunks(gzipSync(small), 1), { createInflater, target: 1 })).equals(small));
    });

    it('may have several members, empty ones among them, and zeros behind them', async () => {
      const blob = Buffer.concat([gzipSync('one'), gzipSync(''), gzipSync(TEXT), gzipSync('three'), Buffer.alloc(700)]);
      const expected = Buffer.concat([Buffer.from('one'), TEXT, Buffer.from('three')]);
      for (const chunk of [3, 4096])
        assert.ok((await readAll(inChunks(blob, chunk), { createInflater })).equals(expected));
    });

    it('of any bytes comes out as it went in', async () => {
      const members = array(uint8Array({ maxLength: 3000 }), { minLength: 1, maxLength: 4 });
      await assertProperty(
        asyncProperty(
          members,
          integer({ min: 1, max: 5000 }),
          integer({ min: 1, max: 5000 }),
          async (parts, chunk, target) => {
            const blob = Buffer.concat(parts.map((part) => gzipSync(part)));
            const read = await readAll(inChunks(blob, chunk), { createInflater, target });
            assert.ok(read.equals(Buffer.concat(parts)));
          },
        ),
        { numRuns: 60 },
      );
    });

    const blob = gzipSync(TEXT);
    for (const [what, broken] of [
      ['cut short', blob.subarray(0, blob.length / 2)],
      ['cut in its trailer', blob.subarray(0, -3)],
      ['with another checksum in its trailer', flipped(blob, blob.length - 6)],
      ['with another length in its trailer', flipped(blob, blob.length - 2)],
      ['without gzip’s magic number', flipped(blob, 0)],
      ['with another compression method', flipped(blob, 2)],
      ['that is raw deflate', deflateRawSync(TEXT)],
      ['followed by something else', Buffer.concat([blob, Buffer.from('something else')])],
      ['that is empty', Buffer.alloc(0)],
    ] as const) {
      it(`${what} is refused`, async () => {
        await assert.rejects(readAll(inChunks(broken, 10_000), { createInflater }), {
          name: 'ImportError',
          code: 'InvalidLayer',
          message: /^layer sha256:layer cannot be read: /,
        });
      });
    }

    it('that is cut off fails with the reason of the cut', async () => {
      const cut = new Error('the connection is gone');
      await assert.rejects(readAll(inChunks(blob.subarray(0, 50_000), 10_000, cut), { createInflater }), cut);
    });

    it('that is corrupt is still read to its end: that its digest is wrong is the news', async () => {
      const digest = new Error('wrong digest');
      await assert.rejects(readAll(inChunks(flipped(blob, 0), 10_000, digest), { createInflater }), digest);
    });

    it('is held against its diff-id', async () => {
      const diffId = `sha256:${createHash('sha256').update(TEXT).digest('hex')}`;
      assert.ok((await readAll(inChunks(blob, 10_000), { createInflater, diffId })).equals(TEXT));
      await assert.rejects(readAll(inChunks(gzipSync('other'), 10_000), { createInflater, diffId }), /has diff-id/);
    });
  });
}

describe('a layer', () => {
  for (const [compression, blob] of [
    ['none', TEXT],
    ['zstd', zstdCompressSync(TEXT)],
  ] as const) {
    it(`of compression ${compression} is read whole`, async () => {
      assert.ok((await readAll(inChunks(blob, 9999), { compression })).equals(TEXT));
    });
  }
});
