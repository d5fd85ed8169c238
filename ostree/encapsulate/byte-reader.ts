/** A stream cut as it is needed. */
import { ImportError } from '../import/errors.ts';

export class ByteReader {
  readonly #chunks: AsyncIterator<Buffer>;
  #chunk: Buffer = Buffer.alloc(0);

  constructor(stream: AsyncIterable<Buffer>) {
    this.#chunks = stream[Symbol.asyncIterator]();
  }

  /** Exactly `count` bytes, copied. */
  async take(count: number): Promise<Buffer> {
    const taken = Buffer.alloc(count);
    let filled = 0;
    for await (const piece of this.pass(count)) filled += piece.copy(taken, filled);
    return taken;
  }

  /** Exactly `count` bytes, in pieces that are valid until the next one. */
  async *pass(count: number): AsyncGenerator<Buffer> {
    for (let left = count; left > 0;) {
      if (this.#chunk.length === 0 && !(await this.#next())) {
        throw new ImportError('InvalidLayer', 'the layer ends in the middle of an entry; fetch it again');
      }
      const piece = this.#chunk.subarray(0, left);
      this.#chunk = this.#chunk.subarray(piece.length);
      left -= piece.length;
      yield piece;
    }
  }

  async *rest(): AsyncGenerator<Buffer> {
    do {
      if (this.#chunk.length > 0) yield this.#chunk;
    } while (await this.#next());
  }

  async #next(): Promise<boolean> {
    const next = await this.#chunks.next();
    this.#chunk = next.done === true ? Buffer.alloc(0) : next.value;
    return next.done !== true;
  }
}
