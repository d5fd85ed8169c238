import assert from 'node:assert/strict';
import { deflateRawSync, gzipSync } from 'node:zlib';
import * as fc from 'fast-check';
import { knownBytes } from '../../../ostree/encapsulate/compression/known-bytes.ts';
import { type Run, storedRuns } from '../../../ostree/encapsulate/compression/stored-runs.ts';
import { noise } from './noise.ts';

const KIB = 1024;

/** Bytes that deflate makes smaller by a sixteenth: each has fifteen bits in two. */
function nearlyNoise(size: number): Buffer {
  return noise(size, 5).map((byte, at) => (at % 2 === 0 ? byte : byte & 0x7f)) as Buffer;
}

function bytesOf(runs: readonly Run[]): number {
  return runs.reduce((sum, { start, end }) => sum + end - start, 0);
}

describe('what does not compress', () => {
  it('is found in noise, and in what compressors made', () => {
    assert.deepEqual(storedRuns(noise(128 * KIB, 1), 0), [{ start: 0, end: 128 * KIB }]);
    const compressed = gzipSync(noise(500 * KIB, 7).toString('hex'));
    const stored = bytesOf(storedRuns(compressed, 0));
    assert.ok(stored > compressed.length * 0.95, `${stored} of ${compressed.length}`);
  });

  it('is not found in text, nor in what is uneven, nor in few bytes', () => {
    assert.deepEqual(storedRuns(Buffer.alloc(128 * KIB, 'configuration '), 0), []);
    assert.deepEqual(storedRuns(Buffer.alloc(128 * KIB), 0), []);
    assert.deepEqual(storedRuns(nearlyNoise(128 * KIB), 0), []);
    assert.deepEqual(storedRuns(noise(32 * KIB - 1, 1), 0), []);
  });

  it('is not what deflate can look back to, far away or near, even before the piece', () => {
    const once = noise(30 * KIB, 2);
    const [text, twice] = [Buffer.alloc(64 * KIB, 'text '), Buffer.concat([once, once, once, once])];
    assert.deepEqual(storedRuns(Buffer.concat([text, twice]), text.length + once.length), []);
    const page = noise(512, 3);
    assert.deepEqual(storedRuns(Buffer.concat(Array.from({ length: 200 }, () => page)), 0), []);
  });

  it('is what was there before, but out of reach', () => {
    const once = noise(48 * KIB, 4);
    assert.deepEqual(storedRuns(Buffer.concat([once, once]), 0), [{ start: 0, end: 96 * KIB }]);
  });

  it('begins and ends within a block of where it begins and ends', () => {
    const text = Buffer.alloc(100_000, 'The quick brown fox. ');
    const [run, ...others] = storedRuns(Buffer.concat([text, noise(100_000, 6), text]), 0);
    assert.deepEqual(others, []);
    assert.ok(run !== undefined && run.start >= 100_000 && run.start < 100_000 + 4 * KIB, JSON.stringify(run));
    assert.ok(run.end <= 200_000 && run.end > 200_000 - 4 * KIB, JSON.stringify(run));
  });

  it('is nothing of which deflate wins two percent', () => {
    const part = fc.record({ kind: fc.nat(4), size: fc.integer({ min: 1, max: 90_000 }), seed: fc.nat(50) });
    const content = knownBytes(300_000);
    const bytesOfPart = ({ kind, size, seed }: { kind: number; size: number; seed: number }): Buffer => {
      if (kind === 0) return Buffer.alloc(size, `text ${seed} `);
      if (kind === 1) return content.subarray(seed * 4000, seed * 4000 + size);
      if (kind === 2) return nearlyNoise(size);
      return noise(size, seed % 3);
    };
    fc.assert(
      fc.property(fc.array(part, { minLength: 1, maxLength: 8 }), (parts) => {
        const bytes = Buffer.concat(parts.map(bytesOfPart));
        for (const { start, end } of storedRuns(bytes, 0)) {
          const dictionary = bytes.subarray(Math.max(0, start - 32 * KIB), start);
          const { length } = deflateRawSync(bytes.subarray(start, end), dictionary.length > 0 ? { dictionary } : {});
          assert.ok(length > (end - start) * 0.98, `${end - start} bytes become ${length}`);
        }
      }),
      { numRuns: 100 },
    );
  });
});
