/**
 * A tar stream of thousands of small pieces, gathered into fewer: each piece that goes through a chain of streams by itself
 * costs more than what is done with it.
 */

/** Part of a stream: bytes at hand, or a long content that is yet to be read. */
export type TarPiece = Buffer | AsyncIterable<Buffer>;

const GATHERED_BYTES = 256 * 1024;

/** For what is read on the way. One for each stream. */
export function scratchBuffer(): Buffer {
  return Buffer.allocUnsafeSlow(GATHERED_BYTES);
}

/** The same bytes, in pieces that are valid until the next one. */
export async function* gathered(pieces: Iterable<TarPiece>): AsyncGenerator<Buffer> {
  const memory = Buffer.allocUnsafeSlow(GATHERED_BYTES);
  let filled = 0;
  for (const piece of pieces) {
    const isSmall = Buffer.isBuffer(piece) && piece.length <= memory.length;
    if (filled > 0 && !(isSmall && filled + piece.length <= memory.length)) {
      yield memory.subarray(0, filled);
      filled = 0;
    }
    if (isSmall) filled += piece.copy(memory, filled);
    else if (Buffer.isBuffer(piece)) yield piece;
    else yield* piece;
  }
  if (filled > 0) yield memory.subarray(0, filled);
}
