import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { constants, gzipSync, zstdCompressSync } from 'node:zlib';
import * as fc from 'fast-check';
import { gzipContentSize, zstdContentSize } from '../../../ostree/import/uncompressed-size.ts';

function trailer(size: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(size % 2 ** 32);
  return bytes;
}

/** Of sizes that need each width of the size field, with and without a window of its own. */
const SIZES = [512, 1024, 100 * 512, 1000 * 512];

describe('the size of the tar stream in a blob', () => {
  it('is what gzip wrote at the end', () => {
    for (const size of SIZES) {
      for (const content of [Buffer.alloc(size, 'a'), randomBytes(size)]) {
        const blob = gzipSync(content);
        assert.equal(gzipContentSize(blob.subarray(-4), blob.length), size);
      }
    }
  });

  it('is found beyond 4 GiB, where gzip has only the remainder, for every usual ratio', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 2 ** 25 }), fc.double({ min: 1, max: 6, noNaN: true }), (blocks, ratio) => {
        const size = blocks * 512;
        const compressed = Math.ceil(size / ratio);
        const found = gzipContentSize(trailer(size), compressed);
        if (found === undefined) {
          assert.equal(size % 2 ** 32, 0);
          return;
        }
        // The smallest size that it can be.
        assert.ok(found <= size && found >= 0.99 * compressed - 64);
        assert.equal((size - found) % 2 ** 32, 0);
      }),
    );
    assert.equal(gzipContentSize(trailer(5 * 2 ** 30), 2 * 2 ** 30), 5 * 2 ** 30);
  });

  it('is not taken from the last of several gzip members', () => {
    const [first, last] = [gzipSync(randomBytes(100_000)), gzipSync(Buffer.alloc(0))];
    assert.equal(gzipContentSize(last.subarray(-4), first.length + last.length), undefined);
    assert.equal(gzipContentSize(trailer(512), 100_000), undefined);
    assert.equal(gzipContentSize(trailer(100_001), 100_000), undefined);
  });

  it('is what zstd wrote at the start, if it did', () => {
    for (const size of SIZES) {
      for (const content of [Buffer.alloc(size, 'a'), randomBytes(size)]) {
        const params = { [constants.ZSTD_c_contentSizeFlag]: 1 };
        const blob = zstdCompressSync(content, { params, pledgedSrcSize: size });
        assert.equal(zstdContentSize(blob.subarray(0, 18), blob.length), size);
        const silent = zstdCompressSync(content, { params: { [constants.ZSTD_c_contentSizeFlag]: 0 } });
        assert.equal(zstdContentSize(silent.subarray(0, 18), silent.length), undefined);
      }
    }
  });

  it('is not taken from the first of several zstd frames, a skippable frame, or other bytes', () => {
    const frame = zstdCompressSync(Buffer.alloc(512, 'a'), { pledgedSrcSize: 512 });
    assert.equal(zstdContentSize(frame.subarray(0, 18), 100_000), undefined);
    assert.equal(zstdContentSize(Buffer.from('502a4d1804000000000000000000', 'hex'), 100), undefined);
    assert.equal(zstdContentSize(Buffer.alloc(0), 0), undefined);
  });

  it('is a size or nothing, whatever the bytes', () => {
    const magic = Buffer.from('28b52ffd', 'hex');
    const bytes = fc.uint8Array({ maxLength: 14 }).map((rest) => Buffer.concat([magic, rest]));
    fc.assert(
      fc.property(bytes, fc.integer({ min: 1, max: 2 ** 40 }), (header, compressed) => {
        const size = zstdContentSize(header, compressed);
        assert.ok(size === undefined || (Number.isSafeInteger(size) && size > 0 && size % 512 === 0));
      }),
    );
  });
});
