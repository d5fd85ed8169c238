/** A clock that stands still until a test moves it; sleepers wake in order of their time. */
import type { Clock } from '../../../operator/clock.ts';

interface Sleeper {
  readonly atMs: number;
  readonly wake: () => void;
}

export class FakeClock implements Clock {
  #ms = 0;
  readonly #sleepers = new Set<Sleeper>();
  readonly #epochMs = Date.parse('2026-01-01T00:00:00Z');

  now(): Date {
    return new Date(this.#epochMs + this.#ms);
  }

  monotonicMs(): number {
    return this.#ms;
  }

  random(): number {
    return 0.5;
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    if (signal?.aborted === true) return Promise.resolve();
    return new Promise((resolve) => {
      const sleeper = { atMs: this.#ms + ms, wake: () => resolve() };
      this.#sleepers.add(sleeper);
      signal?.addEventListener('abort', () => {
        this.#sleepers.delete(sleeper);
        resolve();
      });
    });
  }

  /** Moves on by `ms`, waking every sleeper at its time and letting what it does settle. */
  async advance(ms: number): Promise<void> {
    const endMs = this.#ms + ms;
    for (;;) {
      await settle();
      const [next] = [...this.#sleepers].filter((sleeper) => sleeper.atMs <= endMs).sort((a, b) => a.atMs - b.atMs);
      if (next === undefined) break;
      this.#sleepers.delete(next);
      this.#ms = Math.max(this.#ms, next.atMs);
      next.wake();
    }
    this.#ms = endMs;
    await settle();
  }
}

/** Lets promises that are already resolvable run their course. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
}
