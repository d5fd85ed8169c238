/** How fast bytes may come: a token bucket, as a value of the clock that its caller has. */

/** What the bucket holds, as time at the full rate; between these bounds. */
const BURST_MS = 100;
const LEAST_BURST_BYTES = 16 * 1024;
const MOST_BURST_BYTES = 256 * 1024;

/**
 * In any time, at most the rate times that time plus one burst. Who asks first is served first, so that several readers
 * share it fairly.
 */
export class RateLimit {
  readonly #bytesPerMs: number;
  /** Bytes: no more may be asked for at once. */
  readonly burst: number;
  /** Milliseconds: when all that was promised is paid for. */
  #paid = Number.NEGATIVE_INFINITY;

  /** @throws {RangeError} for a rate that is not positive. */
  constructor(bytesPerSecond: number) {
    if (!Number.isFinite(bytesPerSecond) || bytesPerSecond <= 0) {
      throw new RangeError(`a rate has to be a positive number of bytes per second, not ${bytesPerSecond}`);
    }
    this.#bytesPerMs = bytesPerSecond / 1000;
    this.burst = Math.round(Math.min(MOST_BURST_BYTES, Math.max(LEAST_BURST_BYTES, this.#bytesPerMs * BURST_MS)));
  }

  /** Promises `bytes`, at most a burst, and returns after how many milliseconds they may be used. `now` never goes back. */
  reserve(bytes: number, now: number): number {
    if (bytes > this.burst) throw new RangeError(`${bytes} bytes are more than a burst of ${this.burst}`);
    // What was not used is kept, up to one burst.
    const since = Math.max(this.#paid, now - this.burst / this.#bytesPerMs);
    this.#paid = since + bytes / this.#bytesPerMs;
    return Math.max(0, this.#paid - now);
  }
}
