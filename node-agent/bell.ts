/** Wakes one waiter; a ring that nobody waits for is kept for the next wait, so that no change is slept through. */
import { sleep } from './kube/back-off.ts';

export class Bell {
  #rung = false;
  #nap: AbortController | undefined;

  ring(): void {
    this.#rung = true;
    this.#nap?.abort();
  }

  /** Resolves at the next ring, after `ms`, or when `signal` aborts. */
  async wait(ms: number, signal: AbortSignal): Promise<void> {
    if (!this.#rung) {
      this.#nap = new AbortController();
      await sleep(ms, AbortSignal.any([this.#nap.signal, signal]));
      this.#nap = undefined;
    }
    this.#rung = false;
  }
}
