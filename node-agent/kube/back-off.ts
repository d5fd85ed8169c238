/** Waiting times between attempts: exponential, jittered, and never longer than the cap. */
import { setTimeout as delay } from 'node:timers/promises';

export interface BackOff {
  readonly firstMs: number;
  readonly capMs: number;
}

/** Time before attempt `attempt` (0 is the first repetition); `random` in [0, 1) spreads a fleet's retries. */
export function backOffMs({ firstMs, capMs }: BackOff, attempt: number, random: () => number): number {
  const full = Math.min(capMs, firstMs * 2 ** Math.min(attempt, 20));
  return full / 2 + (random() * full) / 2;
}

/** Sleeps; returns early, without an error, when `signal` aborts. */
export async function sleep(ms: number, signal: AbortSignal): Promise<void> {
  try {
    await delay(ms, undefined, { signal });
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}
