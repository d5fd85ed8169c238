/** Bounded, jittered retries for what may pass by itself: a broken connection, 429, 5xx. */
import { RegistryError } from './errors.ts';
import type { Clock, RetryPolicy } from './options.ts';

/** Whether trying again can help. */
export function isTransient(error: unknown): error is RegistryError {
  return (
    error instanceof RegistryError &&
    (error.code === 'Unreachable' || error.code === 'RateLimited' || error.code === 'ServerError')
  );
}

/**
 * Milliseconds before retry number `retry` (0 is the first): exponential, between half and all of the step, so that a
 * fleet that lost its registry at one moment does not come back at one moment.
 */
export function backoffDelay(policy: RetryPolicy, retry: number, random: number): number {
  const step = Math.min(policy.maxDelayMs, policy.baseDelayMs * 2 ** retry);
  return step * (0.5 + random / 2);
}

/**
 * Waits before retry number `retry`, or throws the error that would have been retried: when tries are used up, or when
 * the server asks for more patience than the policy has.
 */
export async function waitOrGiveUp(
  error: RegistryError,
  retry: number,
  policy: RetryPolicy,
  clock: Clock,
  signal: AbortSignal | undefined,
): Promise<void> {
  const asked = error.retryAfterMs ?? 0;
  if (retry + 1 >= policy.attempts) throw error.withNote(`${retry + 1} ${retry === 0 ? 'attempt' : 'attempts'}`);
  if (asked > policy.maxRetryAfterMs) {
    throw error.withNote(`the server asks to wait ${Math.ceil(asked / 1000)} s`);
  }
  await clock.sleep(Math.max(asked, backoffDelay(policy, retry, clock.random())), signal);
}

/** Runs `operation` until it succeeds, fails for good, or the policy's attempts are used up. */
export async function withRetries<T>(
  operation: () => Promise<T>,
  policy: RetryPolicy,
  clock: Clock,
  signal: AbortSignal | undefined,
): Promise<T> {
  for (let retry = 0; ; retry++) {
    try {
      return await operation();
    } catch (error) {
      if (!isTransient(error)) throw error;
      await waitOrGiveUp(error, retry, policy, clock, signal);
    }
  }
}

/**
 * The wait that a `Retry-After` header asks for (RFC 9110, section 10.2.3: seconds or an HTTP date), in milliseconds.
 * Undefined when absent or not understood.
 */
export function parseRetryAfter(header: string | undefined, now: number): number | undefined {
  if (header === undefined) return undefined;
  const text = header.trim();
  if (/^\d+$/.test(text)) return Number(text) * 1000;
  const date = Date.parse(text);
  return Number.isNaN(date) ? undefined : Math.max(0, date - now);
}
