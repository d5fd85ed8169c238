import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { constants, deflateRawSync, gunzipSync, gzipSync } from 'node:zlib';
import * as fc from 'fast-check';
import { CompressionPool } from '../../../ostree/encapsulate/compression/compression-pool.ts';
import { deflateOrStore } from '../../../ostree/encapsulate/compression/deflate-or-store.ts';
import { knownBytes } from '../../../ostree/encapsulate/compression/known-bytes.ts';
import { gzip } from '../../../ostree/encapsulate/compression/parallel-gzip.ts';
import {
  hasKnownAnswers,
  pinnedDeflate,
  portableDeflate,
} from '../../../ostree/encapsulate/compression/pinned-deflate.ts';
import { collected } from './collected.ts';
import { noise } from './noise.ts';

const MIB = 1024 * 1024;
/** By level, of what is partly stored. */
const STORED: Readonly<Record<number, string>> = {
  1: 'b00eb9d76e604f628b6db3886ce5f81a91ad30e8844df48e350c4c58a5dc1371',
  6: 'bec6a1f59245da62717b490e4c02ad23d17d1e67f243e3d5d95fe4074d35e465',
};

/** Bytes that compress about as well as programs do, the same in every run. */
function sample(size: number): Buffer {
  const bytes = Buffer.alloc(size);
  let state = 1;
  for (let position = 0; position < size; position++) {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    bytes[position] = state % 7 === 0 ? state >>> 24 : position % 251;
  }
  return bytes;
}

/** Text, noise, and noise once more, next to each other at any place. */
function mixture(): fc.Arbitrary<Buffer> {
  const size = fc.oneof(
    fc.integer({ min: 1, max: 120_000 }),
    fc.constantFrom(4096, 32_767, 32_768, 32_769, 65_535, 65_536, 131_070, MIB),
  );
  const part = fc.record({ kind: fc.nat(3), size, seed: fc.nat(3) });
  return fc.array(part, { minLength: 1, maxLength: 8 }).map((parts) =>
    Buffer.concat(
      parts.map(({ kind, size: length, seed }) => {
        if (kind === 0) return Buffer.alloc(length, `text ${seed} `);
        return kind === 1 ? sample(length) : noise(length, seed);
      }),
    ),
  );
}

async function* inChunks(bytes: Buffer, size: number): AsyncGenerator<Buffer> {
  for (let start = 0; start < bytes.length; start += size) {
    await Promise.resolve();
    yield bytes.subarray(start, start + size);
  }
}

async function compress(bytes: Buffer, chunk: number, level = 6, threads?: number): Promise<Buffer> {
  await using pool = new CompressionPool(threads);
  return await collected(gzip(inChunks(bytes, chunk), level, pool));
}

describe('gzip on all cores', () => {
  it('gives an ordinary gzip stream of the input, whatever its size', async () => {
    const bytes = sample(5 * MIB + 1);
    for (const size of [0, 1, MIB - 1, MIB, MIB + 1, 2 * MIB, 5 * MIB + 1]) {
      const input = bytes.subarray(0, size);
      assert.ok(gunzipSync(await compress(input, 300_000)).equals(input), `${size} bytes`);
    }
  });

  it('gives the same bytes however the input arrives, on any number of threads, today and in years', async () => {
    const bytes = sample(3 * MIB + 5);
    const digests = new Set<string>();
    for (const [chunk, threads] of [
      [5000, 1],
      [MIB, 2],
      [10 * MIB, 7],
    ] as const) {
      digests.add(
        createHash('sha256')
          .update(await compress(bytes, chunk, 6, threads))
          .digest('hex'),
      );
    }
    // What digests of published layers hang on: whoever changes it gives every image another digest, and recipe.ts another recipe.
    assert.deepEqual([...digests], ['1e184820f3c0767e3f771fd87ae0e76fcb2aa148d3cf441f2fdfe2b199ed1f9e']);
  });

  it('gives the same bytes of what it stores, too', async () => {
    // Twice the same noise, in and out of reach; before, between and behind it what compresses.
    const [once, near] = [noise(1.5 * MIB, 1), noise(20_000, 2)];
    const bytes = Buffer.concat([sample(300_000), once, sample(10_000), once, near, near, near, sample(100_000)]);
    for (const level of [1, 6]) {
      const expected = await compress(bytes, MIB, level, 1);
      assert.ok((await compress(bytes, 7000, level, 3)).equals(expected));
      assert.equal(createHash('sha256').update(expected).digest('hex'), STORED[level]);
    }
  });

  it('gives back what went in, of anything, in hardly more bytes', async () => {
    await using pool = new CompressionPool(2);
    await fc.assert(
      fc.asyncProperty(
        mixture(),
        fc.constantFrom(1, 6),
        fc.integer({ min: 1000, max: MIB }),
        async (bytes, level, chunk) => {
          const compressed = await collected(gzip(inChunks(bytes, chunk), level, pool));
          assert.ok(gunzipSync(compressed).equals(bytes));
          assert.ok(
            compressed.length <= bytes.length + bytes.length / 2000 + 100,
            `${compressed.length}, ${bytes.length}`,
          );
        },
      ),
      { numRuns: 40 },
    );
  });

  it('is as small as gzip on one core, within one percent', async () => {
    const bytes = sample(4 * MIB);
    for (const level of [1, 6]) {
      const ratio = (await compress(bytes, MIB, level)).length / gzipSync(bytes, { level }).length;
      assert.ok(ratio < 1.01, `level ${level}: ${ratio}`);
    }
  });

  it('ends with the error of its input', async () => {
    async function* failing(): AsyncGenerator<Buffer> {
      yield* inChunks(sample(3 * MIB), MIB);
      throw new Error('disk gone');
    }
    await using pool = new CompressionPool();
    await assert.rejects(collected(gzip(failing(), 6, pool)), /disk gone/);
  });

  it('serves several layers from the same threads', async () => {
    await using pool = new CompressionPool(2);
    const inputs = [sample(2 * MIB), sample(3 * MIB + 1), sample(10)];
    const outputs = await Promise.all(inputs.map((input) => collected(gzip(inChunks(input, 70_000), 1, pool))));
    for (const [at, output] of outputs.entries()) assert.ok(gunzipSync(output).equals(inputs[at] ?? assert.fail()));
  });
});

describe('a piece of deflate', () => {
  it('is the same whether zlib or pako makes what is not stored', async () => {
    const [fastest, portable] = [await pinnedDeflate(), await portableDeflate()];
    fc.assert(
      fc.property(mixture(), fc.constantFrom(1, 6), fc.nat(40_000), (bytes, level, before) => {
        const start = Math.min(before, bytes.length - 1);
        const piece = deflateOrStore(bytes, { start, level, deflate: fastest });
        assert.ok(piece.equals(deflateOrStore(bytes, { start, level, deflate: portable })));
      }),
      { numRuns: 20 },
    );
  });

  it('has what does not compress as it is, between two that do', async () => {
    const [text, random] = [Buffer.alloc(70_000, 'text '), noise(200_000, 3)];
    const piece = deflateOrStore(Buffer.concat([text, random, text]), {
      start: 0,
      level: 6,
      deflate: await pinnedDeflate(),
    });
    assert.ok(piece.includes(random.subarray(10_000, 60_000)));
    assert.ok(piece.length < random.length + 2000, `${piece.length}`);
  });
});

describe('pinned deflate', () => {
  it('is done by the zlib of the Node that we ship, which has the known answers', async () => {
    const [fastest, portable] = [await pinnedDeflate(), await portableDeflate()];
    assert.ok(hasKnownAnswers(portable));
    assert.notEqual(fastest.name, portable.name, 'the slow one is not needed here');
  });

  it('is not done by a zlib that gives other bytes', () => {
    const otherMemory = (piece: Buffer, level: number, dictionary?: Buffer): Buffer =>
      deflateRawSync(piece, {
        level,
        memLevel: 9,
        finishFlush: constants.Z_SYNC_FLUSH,
        ...(dictionary !== undefined && { dictionary }),
      });
    assert.equal(hasKnownAnswers(otherMemory), false);
  });

  it('makes the same bytes either way, of anything', async () => {
    const [fastest, portable] = [await pinnedDeflate(), await portableDeflate()];
    const far = knownBytes(400_000);
    fc.assert(
      fc.property(
        fc.oneof(
          fc.uint8Array({ maxLength: 2000 }),
          fc.nat(300_000).chain((start) => fc.nat(100_000).map((length) => far.subarray(start, start + length))),
        ),
        fc.option(fc.uint8Array({ minLength: 1, maxLength: 32_768 }), { nil: undefined }),
        fc.constantFrom(1, 6),
        (bytes, before, level) => {
          const dictionary = before && Buffer.from(before);
          const piece = Buffer.from(bytes);
          assert.ok(fastest(piece, level, dictionary).equals(portable(piece, level, dictionary)));
        },
      ),
      { numRuns: 150 },
    );
  });
});
