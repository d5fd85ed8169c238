/**
 * The directories that a commit layer has brought, as they were verified: the proof that the commit is complete looks into
 * each of them, and need not read from the disk what has just gone by. Packed, as they go from thread to thread.
 */
import { ChecksumSet } from '../objects/checksum-set.ts';

const CHECKSUM_BYTES = 32;
const HEADER_BYTES = CHECKSUM_BYTES + 4;
/**
 * An operating system of 20,000 files has 2 MB of them, and up to four copies are in memory for a moment, one in each thread that
 * they pass through. Of a larger tree than this nothing is kept: the proof then reads.
 */
const MAX_BYTES = 6 * 1024 * 1024;

export class BroughtDirectories {
  readonly #checksums = new ChecksumSet();
  #pieces: Buffer[] | undefined = [];
  #bytes = 0;

  /** @param bytes of a dirtree object that has this checksum. They are copied */
  add(checksum: string, bytes: Buffer): void {
    if (this.#pieces === undefined || !this.#checksums.add(checksum)) return;
    this.#bytes += HEADER_BYTES + bytes.length;
    if (this.#bytes > MAX_BYTES) {
      this.#pieces = undefined;
      return;
    }
    const piece = Buffer.alloc(HEADER_BYTES + bytes.length);
    piece.write(checksum, 'hex');
    piece.writeUInt32LE(bytes.length, CHECKSUM_BYTES);
    bytes.copy(piece, HEADER_BYTES);
    this.#pieces.push(piece);
  }

  /** All of them, once; undefined if they were too many. */
  pack(): Uint8Array | undefined {
    const pieces = this.#pieces;
    this.#pieces = undefined;
    return pieces === undefined ? undefined : Buffer.concat(pieces);
  }
}

/** Dirtree objects by checksum, from what `pack` gave. Views of `packed`: it must stay. */
export function unpackDirectories(packed: Uint8Array): ReadonlyMap<string, Buffer> {
  const bytes = Buffer.from(packed.buffer, packed.byteOffset, packed.length);
  const directories = new Map<string, Buffer>();
  for (let at = 0; at < bytes.length;) {
    const start = at + HEADER_BYTES;
    const end = start + bytes.readUInt32LE(at + CHECKSUM_BYTES);
    directories.set(bytes.toString('hex', at, at + CHECKSUM_BYTES), bytes.subarray(start, end));
    at = end;
  }
  return directories;
}
