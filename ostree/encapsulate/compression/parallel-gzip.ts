/**
 * gzip on all cores, with the same bytes on any number of them: the input is cut at fixed places, each piece is
 * compressed with the end of the one before as its dictionary, and the results make up one ordinary gzip stream.
 *
 * Source: RFC 1951, RFC 1952; the method is that of pigz(1).
 */
import { crc32 } from 'node:zlib';
import type { CompressionPool } from './compression-pool.ts';
import { freeNow } from './free-now.ts';
import type { PieceResult } from './piece-job.ts';

/** Part of every digest: another size would give other bytes. Large enough that cutting costs less than 0.1 %. */
const PIECE_BYTES = 1024 * 1024;
/** As far as deflate can look back. */
const WINDOW_BYTES = 32 * 1024;
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
  /** Memory for pieces that are to come. */
  const spare: Uint8Array<ArrayBuffer>[] = [];
  const finished = async function* (piece: Promise<PieceResult>): AsyncGenerator<Buffer> {
    const { compressed, bytes } = await piece;
    if (bytes.buffer.byteLength === PIECE_BYTES) spare.push(new Uint8Array(bytes.buffer));
    yield Buffer.from(compressed.buffer, compressed.byteOffset, compressed.byteLength);
    freeNow(compressed);
  };
  let checksum = 0;
  let size = 0;
  let dictionary: Uint8Array<ArrayBuffer> | undefined;
  try {
    yield HEADER;
    for await (const bytes of cut(input, () => spare.pop() ?? new Uint8Array(PIECE_BYTES))) {
      // One for each thread, and one that is ready for the thread that is ready first.
      const oldest = inFlight.length > pool.size ? inFlight.shift() : undefined;
      if (oldest !== undefined) yield* finished(oldest);
      checksum = crc32(bytes, checksum);
      size += bytes.length;
      const before = dictionary;
      dictionary = bytes.slice(-WINDOW_BYTES);
      const compressed = pool.run({
        format: 'deflate',
        level,
        bytes,
        ...(before !== undefined && { dictionary: before }),
      });
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

/** The same bytes in pieces of exactly PIECE_BYTES, but for the last. */
async function* cut(
  input: AsyncIterable<Buffer>,
  memory: () => Uint8Array<ArrayBuffer>,
): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  let piece = memory();
  let filled = 0;
  for await (const chunk of input) {
    for (let taken = 0; taken < chunk.length;) {
      const count = chunk.copy(piece, filled, taken);
      taken += count;
      filled += count;
      if (filled < PIECE_BYTES) continue;
      yield piece;
      piece = memory();
      filled = 0;
    }
  }
  if (filled > 0) yield piece.subarray(0, filled);
}
