/** Time and chance as arguments: tests own them, production passes `systemClock`. */
import { setTimeout as delay } from 'node:timers/promises';

export interface Clock {
  /** Wall clock, for what is written into the API. */
  now(): Date;
  /** Milliseconds that never jump: for deadlines and ages. */
  monotonicMs(): number;
  /** Resolves after `ms` milliseconds, or at once when `signal` aborts; never rejects. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
  /** Uniform in [0, 1). */
  random(): number;
}

export const systemClock: Clock = {
  now: () => new Date(),
  monotonicMs: () => performance.now(),
  sleep: async (ms, signal) => {
    // An aborted sleep is a wake-up, not a failure: callers look at their signal anyway.
    await delay(ms, undefined, signal === undefined ? {} : { signal }).catch(() => undefined);
  },
  random: Math.random,
};
