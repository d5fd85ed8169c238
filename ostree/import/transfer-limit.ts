/**
 * Takes no more than it may: bytes per second and requests at once, over all that is transferred. What must wait is not
 * read, so that the connection fills up and the sender waits, too.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { ImageSource } from '../../registry/index.ts';
import { FetchSlots } from './fetch-slots.ts';
import { RateLimit } from './rate-limit.ts';

export type BlobReadOptions = NonNullable<Parameters<ImageSource['openBlob']>[1]>;

/** Together. What is not given is not limited. */
export interface TransferLimits {
  /**
   * Compressed bytes of layers, of all connections together. Positive. As a function it is asked all the time, so that the
   * rate may change while the pull runs; undefined is no limit.
   */
  readonly bytesPerSecond?: number | (() => number | undefined);
  /** Blobs, or parts of blobs, that are being fetched at the same time. At least 1. */
  readonly concurrentFetches?: number;
}

export interface LimitClock {
  /** Milliseconds; never goes back. */
  readonly now: () => number;
  /** Rejects when the signal aborts. */
  readonly sleep: (milliseconds: number, signal: AbortSignal) => Promise<unknown>;
}

const CLOCK: LimitClock = {
  now: () => performance.now(),
  sleep: (milliseconds, signal) => sleep(Math.ceil(milliseconds), undefined, { signal }),
};

export class TransferLimit {
  readonly #bytesPerSecond: () => number | undefined;
  #rate: { readonly bytesPerSecond: number; readonly limit: RateLimit } | undefined;
  readonly #slots: FetchSlots | undefined;
  readonly #clock: LimitClock;

  /** @throws {RangeError} for limits that nothing could keep to. */
  constructor({ bytesPerSecond, concurrentFetches }: TransferLimits, clock: LimitClock = CLOCK) {
    if (concurrentFetches !== undefined && !(Number.isSafeInteger(concurrentFetches) && concurrentFetches > 0)) {
      throw new RangeError(`at least one fetch has to be possible, not ${concurrentFetches}`);
    }
    this.#bytesPerSecond = typeof bytesPerSecond === 'function' ? bytesPerSecond : () => bytesPerSecond;
    this.#rateNow();
    this.#slots = concurrentFetches === undefined ? undefined : new FetchSlots(concurrentFetches);
    this.#clock = clock;
  }

  /** What `open` gives, within the limits: it must call `onBytes` of the options that it gets for bytes that have arrived. */
  async *within(
    open: (counting: BlobReadOptions) => AsyncIterable<Buffer>,
    options: BlobReadOptions = {},
  ): AsyncIterable<Buffer> {
    const { signal = new AbortController().signal } = options;
    using _slot = await this.#slots?.take(signal);
    // Not the chunks themselves: bytes that an earlier pull has kept come from the disk.
    let arrived = 0;
    const onBytes = (count: number): void => {
      arrived += count;
      options.onBytes?.(count);
    };
    for await (const chunk of open({ ...options, onBytes })) {
      const owed = arrived;
      arrived = 0;
      await this.#pay(owed, signal);
      yield chunk;
    }
  }

  async #pay(bytes: number, signal: AbortSignal): Promise<void> {
    for (let rest = bytes; rest > 0;) {
      const rate = this.#rateNow();
      if (rate === undefined) return;
      const piece = Math.min(rest, rate.burst);
      const wait = rate.reserve(piece, this.#clock.now());
      if (wait > 0) await this.#pause(wait, signal);
      rest -= piece;
    }
  }

  #rateNow(): RateLimit | undefined {
    const bytesPerSecond = this.#bytesPerSecond();
    if (bytesPerSecond === undefined) return undefined;
    if (this.#rate?.bytesPerSecond !== bytesPerSecond) {
      this.#rate = { bytesPerSecond, limit: new RateLimit(bytesPerSecond) };
    }
    return this.#rate.limit;
  }

  async #pause(milliseconds: number, signal: AbortSignal): Promise<void> {
    try {
      await this.#clock.sleep(milliseconds, signal);
    } catch (error) {
      // Whoever aborts says why.
      signal.throwIfAborted();
      throw error;
    }
  }
}
