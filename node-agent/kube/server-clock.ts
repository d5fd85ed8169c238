/**
 * What time the API server has, from the `Date` of its answers (RFC 9110, section 6.6.1). Between two answers it is carried on
 * by a clock that nobody sets, so that a step of the node's own clock shows even while the API server is out of reach.
 */

export interface ClockReadings {
  /** Milliseconds since 1970, by the node's clock. */
  readonly now: () => number;
  /** Milliseconds on a clock that never jumps. */
  readonly steady: () => number;
}

const READINGS: ClockReadings = { now: () => Date.now(), steady: () => performance.now() };

export class ServerClock {
  readonly #readings: ClockReadings;
  #last: { readonly serverMs: number; readonly steadyMs: number } | undefined;

  constructor(readings: ClockReadings = READINGS) {
    this.#readings = readings;
  }

  /** Takes the value of a `Date` header that has just arrived; one that is missing or malformed says nothing. */
  observe(date: string | string[] | undefined): void {
    const serverMs = typeof date === 'string' ? Date.parse(date) : Number.NaN;
    if (!Number.isNaN(serverMs)) this.#last = { serverMs, steadyMs: this.#readings.steady() };
  }

  /** By how many milliseconds the node's clock is ahead, or behind if negative; undefined before the first answer. */
  skewMs(): number | undefined {
    if (this.#last === undefined) return undefined;
    const serverNow = this.#last.serverMs + this.#readings.steady() - this.#last.steadyMs;
    return this.#readings.now() - serverNow;
  }
}
