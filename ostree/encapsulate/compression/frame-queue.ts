/**
 * Parts of a stream that become a zstd frame each, compressed on all threads and given out in order. Small ones travel
 * together. Each piece that is given out is valid until the next one. Holds two MiB for each thread of the pool, however long
 * the stream.
 */
import type { CompressionPool } from './compression-pool.ts';
import { freeNow } from './free-now.ts';
import { type Frame, PIECE_BYTES, type PieceResult } from './piece-job.ts';
import { ZSTD_LEVEL } from './pinned-zstd.ts';

/** No part may be longer. */
export const MAX_PART_BYTES = PIECE_BYTES;

/** Where a frame lies in the output. */
export interface PlacedFrame extends Frame {
  readonly offset: number;
}

type OnPlaced = (frame: PlacedFrame) => void;

interface Batch {
  readonly result: Promise<PieceResult>;
  readonly placed: readonly (OnPlaced | undefined)[];
}

export class FrameQueue {
  readonly #pool: CompressionPool;
  readonly #areDescribed: boolean;
  readonly #inFlight: Batch[] = [];
  #memory: Uint8Array<ArrayBuffer>;
  #filled = 0;
  #parts: number[] = [];
  #placed: (OnPlaced | undefined)[] = [];
  #open = 0;
  #written = 0;

  /** @param areDescribed whether frames say what is in them */
  constructor(pool: CompressionPool, areDescribed: boolean) {
    this.#pool = pool;
    this.#areDescribed = areDescribed;
    this.#memory = pool.takeMemory();
  }

  /** Bytes that have been given out. */
  get written(): number {
    return this.#written;
  }

  /** Begins a part of exactly `length` bytes. Yields output. */
  async *begin(length: number): AsyncGenerator<Buffer> {
    if (length > MAX_PART_BYTES) throw new RangeError(`a part of ${length} bytes`);
    if (this.#filled + length > MAX_PART_BYTES) yield* this.#dispatch();
    this.#open = this.#filled;
  }

  write(bytes: Uint8Array): void {
    this.#memory.set(bytes, this.#filled);
    this.#filled += bytes.length;
  }

  /** Ends it. `placed` is called when its frame has been given out. */
  end(placed?: OnPlaced): void {
    this.#parts.push(this.#filled - this.#open);
    this.#placed.push(placed);
  }

  /** Yields all that is left. */
  async *finish(): AsyncGenerator<Buffer> {
    yield* this.#dispatch();
    for (const batch of this.#inFlight.splice(0)) yield* this.#finished(batch);
  }

  /** In the end, also after an error, before the pool may go. */
  async abandon(): Promise<void> {
    this.#pool.giveBack(this.#memory);
    await Promise.allSettled(this.#inFlight.map(({ result }) => result));
  }

  async *#dispatch(): AsyncGenerator<Buffer> {
    if (this.#parts.length === 0) return;
    // One for each thread, and one that is ready for the thread that is ready first.
    const oldest = this.#inFlight.length > this.#pool.size ? this.#inFlight.shift() : undefined;
    if (oldest !== undefined) yield* this.#finished(oldest);
    const bytes = this.#memory.subarray(0, this.#filled);
    const [parts, areDescribed] = [this.#parts, this.#areDescribed];
    const result = this.#pool.run({ format: 'zstd', level: ZSTD_LEVEL, bytes, parts, areDescribed });
    // Its error is thrown where it is awaited; until then it must not count as unhandled.
    result.catch(() => undefined);
    this.#inFlight.push({ result, placed: this.#placed });
    this.#memory = this.#pool.takeMemory();
    this.#filled = 0;
    this.#parts = [];
    this.#placed = [];
  }

  async *#finished({ result, placed }: Batch): AsyncGenerator<Buffer> {
    const { compressed, frames = [] } = await result;
    for (const [at, frame] of frames.entries()) {
      placed[at]?.({ ...frame, offset: this.#written });
      this.#written += frame.length;
    }
    yield Buffer.from(compressed.buffer, compressed.byteOffset, compressed.byteLength);
    freeNow(compressed);
  }
}
