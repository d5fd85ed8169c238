/** How long a node takes on this fleet: measured, never guessed. */
import type { Member } from '../member.ts';

/**
 * Seconds from slot to end of soak that the median node took for its last update, whatever image that was; absent until
 * one has been updated. The median, because a single drain that was refused all night says nothing about the others.
 */
export function secondsPerNode(members: readonly Member[]): number | undefined {
  let pace = paces.get(members);
  if (pace === undefined) {
    const measured: number[] = [];
    for (const { facts } of members) if (facts.lastUpdateSeconds !== undefined) measured.push(facts.lastUpdateSeconds);
    const sorted = new Float64Array(measured).sort();
    pace = { seconds: sorted[Math.floor((sorted.length - 1) / 2)] };
    paces.set(members, pace);
  }
  return pace.seconds;
}

/** Several parts of a plan ask for the same members. */
const paces = new WeakMap<readonly Member[], { readonly seconds: number | undefined }>();
