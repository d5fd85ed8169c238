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

/** A boot costs a drain, so a node that did not stay on its image rests longer than one that could not fetch it. */
const FIRST_REST_FROM_SLOTS_SECONDS = 300;

/** A node that has stayed on its image for so long has had another accident, and is not in a loop. */
export const STEADY_SECONDS = 86_400;

/** Seconds to get no slot after `attempts` boots that did not last (2 or more): doubling; MAX_ATTEMPTS bounds it. */
export function slotRestSeconds(attempts: number): number {
  return FIRST_REST_FROM_SLOTS_SECONDS * 2 ** Math.min(attempts - 2, MAX_ATTEMPTS);
}

/** Seconds to rest after `attempts` failures (1 or more): doubling, bounded. */
export function restSeconds(attempts: number): number {
  return Math.min(LONGEST_REST_SECONDS, FIRST_REST_SECONDS * 2 ** Math.min(attempts - 1, 16));
}
