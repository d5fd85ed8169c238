/**
 * gzip on all cores, with the same bytes on any number of them: the input is cut at fixed places, each piece is
 * compressed with the end of the one before as its dictionary, and the results make up one ordinary gzip stream.
 *
 * Source: RFC 1951, RFC 1952; the method is that of pigz(1).
 */
import { crc32 } from 'node:zlib';
import type { CompressionPool } from './compression-pool.ts';
import { freeNow } from './free-now.ts';
import { type DeflateJob, PIECE_BYTES, type PieceResult } from './piece-job.ts';
import { WINDOW_BYTES } from './pinned-deflate.ts';

/** No name, no time; made on Unix. */
const HEADER = Buffer.from([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3]);
/** An empty final block. */
const END = Buffer.from([3, 0]);

/**
 * Compresses `input`; `level` is gzip's, 1 (fast) or 6. Each piece is valid until the next one. Holds two MiB for each thread of
 * the pool, however long the input.
 */
export async function* gzip(
  input: AsyncIterable<Buffer>,
  level: number,
  pool: CompressionPool,
): AsyncGenerator<Buffer> {
  const inFlight: Promise<PieceResult>[] = [];
  const finished = async function* (piece: Promise<PieceResult>): AsyncGenerator<Buffer> {
    const { compressed } = await piece;
    yield Buffer.from(compressed.buffer, compressed.byteOffset, compressed.byteLength);
    freeNow(compressed);
  };
  let checksum = 0;
  let size = 0;
  try {
    yield HEADER;
    for await (const { bytes, start } of cut(input, pool)) {
      // One for each thread, and one that is ready for the thread that is ready first.
      const oldest = inFlight.length > pool.size ? inFlight.shift() : undefined;
      if (oldest !== undefined) yield* finished(oldest);
      const piece = bytes.subarray(start);
      checksum = crc32(piece, checksum);
      size += piece.length;
      const compressed = pool.run({ format: 'deflate', level, bytes, start });
      // Its error is thrown where it is awaited; until then it must not count as unhandled.
      compressed.catch(() => undefined);
      inFlight.push(compressed);
    }
    for (const compressed of inFlight.splice(0)) yield* finished(compressed);
  } finally {
    // After an error nobody waits for the rest any more.
    await Promise.allSettled(inFlight);
  }
  const trailer = Buffer.alloc(8);
  trailer.writeUInt32LE(checksum);
  trailer.writeUInt32LE(size % 2 ** 32, 4);
  yield Buffer.concat([END, trailer]);
}

/** A piece, and before `start` the end of the one before it. */
type Piece = Pick<DeflateJob, 'bytes' | 'start'>;

/** The same bytes in pieces of exactly PIECE_BYTES, but for the last. */
async function* cut(input: AsyncIterable<Buffer>, pool: CompressionPool): AsyncGenerator<Piece> {
  const window = Buffer.allocUnsafe(WINDOW_BYTES);
  let [bytes, start] = [pool.takeMemory(), 0];
  let filled = 0;
  for await (const chunk of input) {
    for (let taken = 0; taken < chunk.length;) {
      const end = start + PIECE_BYTES;
      const count = chunk.copy(bytes, filled, taken, taken + end - filled);
      taken += count;
      filled += count;
      if (filled < end) continue;
      window.set(bytes.subarray(end - WINDOW_BYTES, end));
      yield { bytes: bytes.subarray(0, end), start };
      [bytes, start] = [pool.takeMemory(), WINDOW_BYTES];
      bytes.set(window);
      filled = start;
    }
  }
  if (filled > start) yield { bytes: bytes.subarray(0, filled), start };
  else pool.giveBack(bytes);
}
