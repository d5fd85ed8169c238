/**
 * gzip on all cores, with the same bytes on any number of them: the input is cut at fixed places, each piece is
 * compressed with the end of the one before as its dictionary, and the results make up one ordinary gzip stream.
 * Compression is what an encapsulation spends its time on.
 *
 * Source: RFC 1951, RFC 1952; the method is that of pigz(1).
 */
import { availableParallelism } from 'node:os';
import { promisify } from 'node:util';
import { constants, crc32, deflateRaw } from 'node:zlib';

const compress = promisify(deflateRaw);

/** Part of every digest: another size would give other bytes. Large enough that cutting costs less than 0.1 %. */
const PIECE_BYTES = 1024 * 1024;
/** As far as deflate can look back. */
const WINDOW_BYTES = 32 * 1024;
/** libuv's pool has four threads, and the file that is written needs one now and then. */
const MAX_IN_FLIGHT = 4;
/** No name, no time; made on Unix. */
const HEADER = Buffer.from([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3]);
/** An empty final block. */
const END = Buffer.from([3, 0]);

/** Compresses `input`; `level` is gzip's, from 1 (fast) to 9. Holds a few MiB, however long the input. */
export async function* gzip(input: AsyncIterable<Buffer>, level: number): AsyncGenerator<Buffer> {
  const parallelism = Math.min(MAX_IN_FLIGHT, availableParallelism() + 1);
  const inFlight: Promise<Buffer>[] = [];
  let checksum = 0;
  let size = 0;
  let before = Buffer.alloc(0);
  try {
    yield HEADER;
    for await (const piece of cut(input)) {
      const oldest = inFlight.length >= parallelism ? inFlight.shift() : undefined;
      if (oldest !== undefined) yield await oldest;
      checksum = crc32(piece, checksum);
      size += piece.length;
      const compressed = compress(piece, {
        level,
        finishFlush: constants.Z_SYNC_FLUSH,
        ...(before.length > 0 && { dictionary: before }),
      });
      // Its error is thrown where it is awaited; until then it must not count as unhandled.
      compressed.catch(() => undefined);
      inFlight.push(compressed);
      before = piece.subarray(-WINDOW_BYTES);
    }
    for (const compressed of inFlight.splice(0)) yield await compressed;
  } finally {
    // After an error nobody waits for the rest any more.
    await Promise.allSettled(inFlight);
  }
  const trailer = Buffer.alloc(8);
  trailer.writeUInt32LE(checksum);
  trailer.writeUInt32LE(size % 2 ** 32, 4);
  yield Buffer.concat([END, trailer]);
}

/** The same bytes in pieces of exactly PIECE_BYTES, but for the last. */
async function* cut(input: AsyncIterable<Buffer>): AsyncGenerator<Buffer<ArrayBuffer>> {
  let piece = Buffer.allocUnsafeSlow(PIECE_BYTES);
  let filled = 0;
  for await (const chunk of input) {
    for (let taken = 0; taken < chunk.length;) {
      const count = chunk.copy(piece, filled, taken);
      taken += count;
      filled += count;
      if (filled < PIECE_BYTES) continue;
      yield piece;
      piece = Buffer.allocUnsafeSlow(PIECE_BYTES);
      filled = 0;
    }
  }
  if (filled > 0) yield piece.subarray(0, filled);
}
