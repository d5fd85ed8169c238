import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { buffer } from 'node:stream/consumers';
import { gunzipSync, gzipSync } from 'node:zlib';
import { gzip } from '../../../ostree/encapsulate/parallel-gzip.ts';

const MIB = 1024 * 1024;

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

async function* inChunks(bytes: Buffer, size: number): AsyncGenerator<Buffer> {
  for (let start = 0; start < bytes.length; start += size) {
    await Promise.resolve();
    yield bytes.subarray(start, start + size);
  }
}

async function compress(bytes: Buffer, chunk: number, level = 6): Promise<Buffer> {
  return buffer(gzip(inChunks(bytes, chunk), level));
}

describe('gzip on all cores', () => {
  it('gives an ordinary gzip stream of the input, whatever its size', async () => {
    const bytes = sample(5 * MIB + 1);
    for (const size of [0, 1, MIB - 1, MIB, MIB + 1, 2 * MIB, 5 * MIB + 1]) {
      const input = bytes.subarray(0, size);
      assert.ok(gunzipSync(await compress(input, 300_000)).equals(input), `${size} bytes`);
    }
  });

  it('gives the same bytes however the input arrives', async () => {
    const bytes = sample(3 * MIB + 5);
    const digests = new Set<string>();
    for (const chunk of [5000, MIB, 10 * MIB]) {
      digests.add(
        createHash('sha256')
          .update(await compress(bytes, chunk))
          .digest('hex'),
      );
    }
    assert.equal(digests.size, 1);
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
    await assert.rejects(buffer(gzip(failing(), 6)), /disk gone/);
  });
});
