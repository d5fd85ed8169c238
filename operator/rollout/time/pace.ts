/** How long a node takes on this fleet: measured, never guessed. */
import type { Member } from '../member.ts';

/**
 * Seconds from slot to end of soak that the median node took for its last update, whatever image that was; absent until
 * one has been updated. The median, because a single drain that was refused all night says nothing about the others.
 */
export function secondsPerNode(members: readonly Member[]): number | undefined {
  const measured = members
    .map(({ os }) => os?.status?.rollout?.lastUpdateSeconds)
    .filter((seconds) => seconds !== undefined)
    .toSorted((left, right) => left - right);
  return measured[Math.floor((measured.length - 1) / 2)];
}
