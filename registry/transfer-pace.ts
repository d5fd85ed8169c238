/**
 * A server that never falls silent, but sends so little that a transfer has no end in sight, is treated as cut off: the
 * transfer is resumed, and given up after as many tries as anything else. Only time spent waiting for the network counts:
 * a reader that takes its time, for a limit on bandwidth or a busy disk, is not the server's fault.
 */
import { RegistryError } from './errors.ts';

/** Slower than any modem; an image of a gigabyte would take twelve days. */
const LEAST_BYTES_PER_SECOND = 1024;

export class TransferPace {
  readonly #what: string;
  readonly #windowMs: number;
  #waitedMs = 0;
  #bytes = 0;

  /**
   * @param what subject of the sentence: `Registry quay.io`.
   * @param windowMs waiting time after which the rate is judged, and measured anew.
   */
  constructor(what: string, windowMs: number) {
    this.#what = what;
    this.#windowMs = windowMs;
  }

  /** The next piece, its wait counted. @throws RegistryError `Unreachable`; whatever the iterator throws. */
  async next(pieces: AsyncIterator<Buffer>): Promise<IteratorResult<Buffer>> {
    const started = performance.now();
    const result = await pieces.next();
    this.#waitedMs += performance.now() - started;
    if (result.done === true) return result;
    this.#bytes += result.value.length;
    if (this.#waitedMs >= this.#windowMs) this.#judge();
    return result;
  }

  #judge(): void {
    const rate = (this.#bytes / this.#waitedMs) * 1000;
    this.#waitedMs = 0;
    this.#bytes = 0;
    if (rate >= LEAST_BYTES_PER_SECOND) return;
    throw new RegistryError(
      'Unreachable',
      `${this.#what} sends only ${Math.round(rate)} bytes per second: check the network between it and this machine.`,
    );
  }
}
