/**
 * Reads planned parts of a blob one after the other, while the next few have been asked for already, so that a round trip
 * costs nothing. What is not taken yet waits in the connections: memory holds one piece of each.
 */
import type { Range } from './range-plan.ts';

/** Requests under way at once, the one being read included. */
const PARALLEL_REQUESTS = 4;

/** Opens a part of the blob as a stream of exactly its bytes. */
export type OpenRange = (range: Range) => AsyncIterable<Buffer>;

/** A request and the answer's first piece, which is awaited when its turn comes. */
interface Request {
  readonly pieces: AsyncIterator<Buffer>;
  first: Promise<IteratorResult<Buffer>> | undefined;
}

/** Dispose of it to end the requests that are under way. */
export class RangeReader implements AsyncDisposable {
  readonly #ranges: readonly Range[];
  readonly #open: OpenRange;
  readonly #requests: Request[] = [];
  /** Of the range that is being read. */
  #index = 0;
  /** Whether its last byte has been read. */
  #ended = false;
  /** Of the blob: where the next byte comes from. */
  #position: number;
  #piece: Buffer = Buffer.alloc(0);

  constructor(ranges: readonly Range[], open: OpenRange) {
    this.#ranges = ranges;
    this.#open = open;
    this.#position = ranges[0]?.start ?? 0;
  }

  /** Whether the range is part of what is fetched. Ask in ascending order. */
  covers({ start, end }: Range): boolean {
    for (let index = this.#index; index < this.#ranges.length; index++) {
      const range = this.#ranges[index];
      if (range === undefined || start < range.start) return false;
      if (end <= range.end) return true;
    }
    return false;
  }

  /** The bytes of a covered range. Each range must be read to its end, and lie behind the last. */
  async *read({ start, end }: Range): AsyncGenerator<Buffer> {
    while (start >= this.#current().end) await this.#nextRange();
    while (this.#position < end) {
      if (this.#piece.length === 0) this.#piece = await this.#nextPiece();
      const skipped = Math.min(this.#piece.length, Math.max(0, start - this.#position));
      const taken = Math.min(this.#piece.length - skipped, end - this.#position - skipped);
      const bytes = this.#piece.subarray(skipped, skipped + taken);
      this.#piece = this.#piece.subarray(skipped + taken);
      this.#position += skipped + taken;
      if (bytes.length > 0) yield bytes;
    }
    if (end === this.#current().end) await this.#endRange();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const requests = this.#requests.splice(0);
    await Promise.allSettled(
      requests.map(async ({ pieces, first }) => {
        await first;
        await pieces.return?.();
      }),
    );
  }

  #current(): Range {
    const range = this.#ranges[this.#index];
    if (range === undefined) throw new Error('bytes are read that were not planned for');
    return range;
  }

  /** Lets the answer of the current range come to its end: a connection that is left before that cannot be used again. */
  async #endRange(): Promise<void> {
    const request = this.#requests.shift();
    if (request === undefined) return;
    this.#ended = true;
    if ((await request.pieces.next()).done !== true) throw new Error('a range has more bytes than it was asked for');
  }

  async #nextRange(): Promise<void> {
    // Its last part was not wanted.
    if (!this.#ended) await this.#requests.shift()?.pieces.return?.();
    this.#ended = false;
    this.#index++;
    this.#piece = Buffer.alloc(0);
    this.#position = this.#current().start;
  }

  async #nextPiece(): Promise<Buffer> {
    for (let ahead = this.#requests.length; ahead < PARALLEL_REQUESTS; ahead++) {
      const range = this.#ranges[this.#index + ahead];
      if (range === undefined) break;
      const pieces = this.#open(range)[Symbol.asyncIterator]();
      const first = pieces.next();
      // It is reported to whoever reads this range; until then it must not count as unhandled.
      first.catch(() => undefined);
      this.#requests.push({ pieces, first });
    }
    const [request] = this.#requests;
    if (request === undefined) throw new Error('bytes are read that were not planned for');
    const { first } = request;
    request.first = undefined;
    const { done, value } = await (first ?? request.pieces.next());
    if (done === true) throw new Error('a range ended before its last byte');
    return value;
  }
}
