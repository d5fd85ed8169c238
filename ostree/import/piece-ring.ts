/**
 * Memory through which one layer's tar stream goes to the threads that import it: a fixed number of pieces, each filled
 * again only when every reader has taken it in.
 */
import type { ReadLayer } from './layer-tar.ts';

/** The stream goes over in pieces of this size: a message and two switches of threads for each. */
const PIECE_BYTES = 1024 * 1024;
/** Filled and not yet taken in. Two would do; more rides out a slow moment of the disk. */
const PIECES = 6;

export interface Piece {
  /** Bytes from the start of the ring's memory. */
  readonly offset: number;
  readonly length: number;
}

export class PieceRing {
  readonly memory = new SharedArrayBuffer(PIECES * PIECE_BYTES);
  readonly #free: number[] = [];
  /** By offset: how many readers have still to take the piece in. */
  readonly #readers = new Map<number, number>();
  #gaveUp = false;
  #roomMade: (() => void) | undefined;

  /** Fills pieces from a stream; each is to be read by `readers`, who call `taken`. To be used again, call it again. */
  async *fill(read: ReadLayer, readers: number): AsyncGenerator<Piece> {
    this.#gaveUp = false;
    this.#readers.clear();
    this.#free.splice(0, this.#free.length, ...Array.from({ length: PIECES }, (_, index) => index * PIECE_BYTES));
    for (;;) {
      const offset = await this.#emptyPiece();
      const length = await read(Buffer.from(this.memory, offset, PIECE_BYTES));
      if (length === 0) return;
      this.#readers.set(offset, readers);
      yield { offset, length };
    }
  }

  /** One reader has taken in the piece at `offset`. */
  taken(offset: number): void {
    const readers = (this.#readers.get(offset) ?? 0) - 1;
    this.#readers.set(offset, readers);
    if (readers > 0) return;
    this.#free.push(offset);
    this.#roomMade?.();
  }

  /** The readers will take nothing more. */
  giveUp(): void {
    this.#gaveUp = true;
    this.#roomMade?.();
  }

  async #emptyPiece(): Promise<number> {
    for (;;) {
      const offset = this.#free.pop();
      if (offset !== undefined) return offset;
      // Nobody reads any more: the stream is taken to its end into any piece.
      if (this.#gaveUp) return 0;
      const room = Promise.withResolvers<undefined>();
      this.#roomMade = () => room.resolve(undefined);
      await room.promise;
    }
  }
}
