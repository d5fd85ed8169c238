/** Turns the stored pieces of a sparse file into the whole of it: OSTree has no holes, and checksums cover the zeros. */
import { TarError } from './errors.ts';
import { checkSegments, InDataMap, type SparseLayout, type SparseSegment } from './sparse-map.ts';
import { BLOCK_SIZE } from './tar-header.ts';

/** Zeros are handed out in windows on this. */
const ZEROS = Buffer.alloc(256 * 1024);

/** Expands one file. Bytes go to `emit` in file order; they are valid only during the call. */
export class SparseExpander {
  readonly #emit: (bytes: Buffer) => void;
  readonly #realSize: number;
  readonly #storedSize: number;
  #segments: readonly SparseSegment[] = [];
  #next = 0;
  /** Bytes of the file that were emitted, and of the current segment that are still to come. */
  #position = 0;
  #remaining = 0;
  /** While the map is being read from the data. */
  #map: InDataMap | undefined;
  #mapPadding = 0;

  /** @throws {TarError} `CorruptHeader` for a map that no file can have */
  constructor(layout: SparseLayout, storedSize: number, emit: (bytes: Buffer) => void) {
    this.#emit = emit;
    this.#realSize = layout.realSize;
    this.#storedSize = storedSize;
    if (layout.kind === 'known') this.#start(layout.segments, storedSize);
    else this.#map = new InDataMap();
  }

  /** Takes in stored bytes: together as many as the entry has. */
  write(bytes: Buffer): void {
    let at = this.#map === undefined ? 0 : this.#readMap(this.#map, bytes);
    const skipped = Math.min(this.#mapPadding, bytes.length - at);
    this.#mapPadding -= skipped;
    at += skipped;
    while (at < bytes.length) {
      if (this.#remaining === 0) this.#nextSegment();
      const count = Math.min(this.#remaining, bytes.length - at);
      this.#emit(bytes.subarray(at, at + count));
      this.#position += count;
      this.#remaining -= count;
      at += count;
    }
  }

  /** Emits the hole at the end. @throws {TarError} if the data had no map. */
  finish(): void {
    if (this.#map !== undefined) throw new TarError('CorruptHeader', 'tar entry is a sparse file without its map');
    this.#fillTo(this.#realSize);
  }

  #readMap(map: InDataMap, bytes: Buffer): number {
    for (let at = 0; at < bytes.length; at++) {
      if (!map.push(bytes[at] ?? 0)) continue;
      this.#map = undefined;
      this.#mapPadding = (BLOCK_SIZE - (map.length % BLOCK_SIZE)) % BLOCK_SIZE;
      this.#start(map.segments, this.#storedSize - map.length - this.#mapPadding);
      return at + 1;
    }
    return bytes.length;
  }

  #start(segments: readonly SparseSegment[], dataSize: number): void {
    checkSegments(segments, this.#realSize, dataSize);
    this.#segments = segments.filter(({ length }) => length > 0);
  }

  #nextSegment(): void {
    const segment = this.#segments[this.#next++];
    // checkSegments has compared the sums.
    if (segment === undefined) throw new Error('sparse file with more data than its map has');
    this.#fillTo(segment.offset);
    this.#remaining = segment.length;
  }

  #fillTo(position: number): void {
    while (this.#position < position) {
      const count = Math.min(ZEROS.length, position - this.#position);
      this.#emit(ZEROS.subarray(0, count));
      this.#position += count;
    }
  }
}
