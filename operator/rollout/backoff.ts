/** How long a failed step rests before it is tried again. No jitter: attempts of many nodes already start apart. */

/** First rest. A registry that restarts is back in about this time. */
const FIRST_REST_SECONDS = 10;

/** Longest rest. A repaired registry or Secret is noticed within this time without anybody's help. */
const LONGEST_REST_SECONDS = 900;

/**
 * Failed attempts after which a node is `Failed` and the rollout of this digest takes no new slots.
 * With the rests above, about five minutes after the first failure.
 */
export const MAX_ATTEMPTS = 6;

/** Seconds to rest after `attempts` failures (1 or more): doubling, bounded. */
export function restSeconds(attempts: number): number {
  return Math.min(LONGEST_REST_SECONDS, FIRST_REST_SECONDS * 2 ** Math.min(attempts - 1, 16));
}
