import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { zstdDecompressSync } from 'node:zlib';
import * as fc from 'fast-check';
import { CompressionPool } from '../../../ostree/encapsulate/compression/compression-pool.ts';
import { knownBytes } from '../../../ostree/encapsulate/compression/known-bytes.ts';
import { zstd } from '../../../ostree/encapsulate/compression/parallel-zstd.ts';
import { Crc64 } from '../../../ostree/encapsulate/compression/zstd-chunked/crc64.ts';
import { ZstdChunkedEncoder } from '../../../ostree/encapsulate/compression/zstd-chunked/encoder.ts';
import { encodePaxXattrs, encodeTarEntry, TAR_END, tarPadding } from '../../../ostree/encapsulate/tar-entry.ts';
import { collected } from './collected.ts';

const MIB = 1024 * 1024;

async function* inChunks(bytes: Buffer, size: number): AsyncGenerator<Buffer> {
  for (let start = 0; start < bytes.length; start += size) {
    await Promise.resolve();
    yield bytes.subarray(start, start + size);
  }
}

const owned = { mode: 0o644, uid: 1000, gid: 4_000_000 };

/** An archive of files with these contents, and a link of each. */
function archiveOf(contents: readonly Buffer[]): Buffer {
  const blocks = contents.flatMap((content, at) => {
    const path = `${'folder-ä/'.repeat(at)}${at}`;
    return [
      encodePaxXattrs([{ name: 'user.at', value: Buffer.from([at, 0, 255]) }]),
      encodeTarEntry({ type: 'file', path, ...owned, size: content.length }),
      content,
      tarPadding(content.length),
      encodeTarEntry({ type: 'hardlink', path: `${path}-link`, ...owned, target: path }),
    ];
  });
  return Buffer.concat([encodeTarEntry({ type: 'directory', path: './', ...owned }), ...blocks, TAR_END]);
}

interface Entry {
  readonly type: string;
  readonly name: string;
  readonly digest?: string;
  readonly offset?: number;
  readonly endOffset?: number;
}

async function encode(tar: Buffer, chunk: number, threads = 2) {
  await using pool = new CompressionPool(threads);
  const encoder = new ZstdChunkedEncoder(pool);
  const blob = await collected(encoder.encode(inChunks(tar, chunk)));
  const embedded = (what: string): string => {
    const [offset = 0, length = 0] = (encoder.annotations[`io.github.containers.zstd-chunked.${what}`] ?? '')
      .split(':')
      .map(Number);
    return zstdDecompressSync(blob.subarray(offset, offset + length)).toString();
  };
  return { blob, embedded };
}

describe('zstd on all cores', () => {
  it('gives an ordinary zstd stream of the input, the same on any number of threads', async () => {
    const bytes = knownBytes(3 * MIB + 1);
    for (const size of [0, 1, MIB - 1, MIB, MIB + 1, 3 * MIB + 1]) {
      const input = bytes.subarray(0, size);
      const outputs: Buffer[] = [];
      for (const [threads, chunk] of [
        [1, 10 * MIB],
        [3, 70_000],
      ] as const) {
        await using pool = new CompressionPool(threads);
        outputs.push(await collected(zstd(inChunks(input, chunk), pool)));
      }
      const [first = assert.fail(), second = assert.fail()] = outputs;
      assert.ok(first.equals(second), `${size} bytes`);
      if (size > 0) assert.ok(zstdDecompressSync(first).equals(input), `${size} bytes`);
    }
  });
});

describe('a zstd:chunked layer', () => {
  it('is an ordinary zstd stream of the archive, with each content where its table says', async () => {
    const content = fc.nat(3 * MIB).map((size) => knownBytes(size));
    await fc.assert(
      fc.asyncProperty(
        fc.array(content, { maxLength: 4 }),
        fc.integer({ min: 500, max: 2 * MIB }),
        async (contents, chunk) => {
          const tar = archiveOf(contents);
          const { blob, embedded } = await encode(tar, chunk);
          assert.ok(zstdDecompressSync(blob).equals(tar));
          const { entries } = JSON.parse(embedded('manifest-position')) as { entries: Entry[] };
          const files = entries.filter(({ type, digest }) => type === 'reg' && digest !== undefined);
          assert.equal(files.length, contents.filter(({ length }) => length > 0).length);
          for (const { name, digest, offset, endOffset } of files) {
            const found = zstdDecompressSync(blob.subarray(offset, endOffset));
            assert.equal(`sha256:${createHash('sha256').update(found).digest('hex')}`, digest, name);
          }
        },
      ),
      { numRuns: 12 },
    );
  });

  it('is the same however the archive arrives, and keeps all its headers', async () => {
    const tar = archiveOf([knownBytes(10), knownBytes(2 * MIB), Buffer.alloc(0)]);
    const [one, other] = [await encode(tar, 5 * MIB, 1), await encode(tar, 1000, 4)];
    assert.ok(one.blob.equals(other.blob));
    const lines = one
      .embedded('tarsplit-position')
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as { type: number; size?: number; payload: string });
    const headers = lines.filter(({ type }) => type === 2).map(({ payload }) => Buffer.from(payload, 'base64').length);
    const contents = lines.map(({ size = 0 }) => size);
    const sum = (numbers: readonly number[]): number => numbers.reduce((total, number) => total + number, 0);
    assert.equal(sum(headers) + sum(contents), tar.length);
  });

  it('checks contents by the CRC-64 of Go', () => {
    const of = (...parts: readonly Uint8Array[]): string => {
      const crc = new Crc64();
      for (const part of parts) crc.update(part);
      return crc.digest().toString('hex');
    };
    assert.equal(of(Buffer.from('123456789')), 'b90956c775a41001');
    assert.equal(of(Buffer.from('1234'), Buffer.from('56789')), 'b90956c775a41001');
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
        const alone = Array.from(bytes, (byte) => Uint8Array.of(byte));
        assert.equal(of(bytes), of(...alone));
      }),
    );
    assert.equal(of(), '0000000000000000');
  });
});
