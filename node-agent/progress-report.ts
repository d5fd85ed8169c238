/**
 * Passes progress on at the rate that the API is meant to bear: at once when the stage changes, otherwise at most every
 * five seconds and then only the newest. A report that fails is dropped; the next one says more anyway.
 */
import type { Progress } from '../api/index.ts';
import { sleep } from './kube/back-off.ts';

/** With 5,000 nodes staging at once, this is 1,000 writes a second less than reporting every second. */
export const PROGRESS_INTERVAL_MS = 5000;

export interface ProgressReportOptions {
  readonly write: (progress: Progress, signal: AbortSignal) => Promise<void>;
  readonly onTrouble: (error: unknown) => void;
  /** Milliseconds on a clock that never jumps. */
  readonly now?: () => number;
}

export class ProgressReport {
  readonly #options: ProgressReportOptions;
  readonly #stop = new AbortController();
  #nap = new AbortController();
  #latest: Progress | undefined;
  #written: Progress | undefined;
  #lastTimeMs = Number.NEGATIVE_INFINITY;
  #work: Promise<void> | undefined;

  constructor(options: ProgressReportOptions) {
    this.#options = options;
  }

  update(progress: Progress): void {
    this.#latest = progress;
    if (progress.stage !== this.#written?.stage) this.#nap.abort();
    this.#work ??= this.#flush().finally(() => (this.#work = undefined));
  }

  /** Ends all reporting; what is being written is cut short. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#work;
  }

  async #flush(): Promise<void> {
    const now = this.#options.now ?? (() => performance.now());
    while (this.#latest !== undefined && this.#latest !== this.#written && !this.#stop.signal.aborted) {
      const waitMs = this.#latest.stage === this.#written?.stage ? this.#lastTimeMs + PROGRESS_INTERVAL_MS - now() : 0;
      if (waitMs > 0) {
        this.#nap = new AbortController();
        await sleep(waitMs, AbortSignal.any([this.#nap.signal, this.#stop.signal]));
        continue;
      }
      const progress = this.#latest;
      try {
        await this.#options.write(progress, this.#stop.signal);
      } catch (error) {
        if (!this.#stop.signal.aborted) this.#options.onTrouble(error);
      }
      this.#written = progress;
      this.#lastTimeMs = now();
    }
  }
}
