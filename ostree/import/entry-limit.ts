/**
 * How many things a layer may hold. What is known of each is held in memory until the layer's end, as is a layer's tree, so
 * this bounds what a small blob can make of an agent; the bytes are bounded by what they are written to.
 */
import { ImportError } from './errors.ts';

/** A large operating system has some hundred thousand files, in many layers. */
const MAX_ENTRIES = 1_000_000;

/** Counts what one layer holds. */
export class EntryLimit {
  readonly #kind: string;
  readonly #most: number;
  #entries = 0;

  /** @param kind of things, in the plural, for the message */
  constructor(kind: string, most = MAX_ENTRIES) {
    this.#kind = kind;
    this.#most = most;
  }

  /** @throws {ImportError} `InvalidLayer` if there are too many */
  count(): void {
    if (++this.#entries > this.#most) {
      throw new ImportError('InvalidLayer', `the layer has more than ${this.#most} ${this.#kind}`);
    }
  }
}
