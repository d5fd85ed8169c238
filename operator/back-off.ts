/** Exponential back-off with jitter, so that a fleet of watches and retries never marches in step. */

export interface BackOffLimits {
  /** Delay after the first failure, in milliseconds, before jitter. */
  readonly initialMs: number;
  /** No delay is longer than this, jitter included. */
  readonly maxMs: number;
}

export class BackOff {
  readonly #limits: BackOffLimits;
  readonly #random: () => number;
  #failures = 0;

  constructor(limits: BackOffLimits, random: () => number) {
    this.#limits = limits;
    this.#random = random;
  }

  /** Failures in a row. */
  get failures(): number {
    return this.#failures;
  }

  /** Counts a failure and returns how many milliseconds to wait: between half of the step and the step. */
  next(): number {
    const step = Math.min(this.#limits.maxMs, this.#limits.initialMs * 2 ** Math.min(this.#failures, 30));
    this.#failures += 1;
    return step * (0.5 + this.#random() / 2);
  }

  /** To be called after a success only: a connection that opens and dies at once is not one. */
  reset(): void {
    this.#failures = 0;
  }
}

/** `value` plus up to `fraction` of it, at random. */
export function jittered(value: number, fraction: number, random: () => number): number {
  return value * (1 + random() * fraction);
}
