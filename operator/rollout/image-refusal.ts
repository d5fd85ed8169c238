/**
 * An image that cannot be staged because of what it is: a missing manifest, a layer that is not what was promised, no OS at
 * all. Agents say so (`status.lastOrder.fault`). Once enough of them have, and nobody has staged it, the rollout is parked,
 * before a single node is cordoned for it.
 */
import type { Census } from './census.ts';
import type { Member } from './member.ts';
import type { Obstacle } from './obstacle.ts';

/** Nodes that must say so: one alone may have a proxy or a cache that hands out something else. */
const WITNESSES = 2;

/** A digest that is not to be fetched by further nodes, and what its witnesses say. */
export interface ImageRefusal {
  readonly digest: string;
  readonly obstacle: Obstacle;
}

/** What of the image is refused, of all digests that it has for the architectures of the nodes. */
export function imageRefusals({ members, blaming }: Census): readonly ImageRefusal[] {
  const byDigest = Map.groupBy(blaming, ({ target }) => target?.digest);
  return [...byDigest].flatMap(([digest, witnesses]) => {
    if (digest === undefined) return [];
    const those = members.filter(({ target }) => target?.digest === digest);
    // The only node of its architecture is one voice, too: the others have another digest, and go on.
    const enough = witnesses.length >= Math.min(WITNESSES, members.length);
    if (!enough || those.some(({ facts }) => facts.hasImage)) return [];
    return [{ digest, obstacle: obstacleOf(digest, witnesses) }];
  });
}

function obstacleOf(digest: string, witnesses: readonly Member[]): Obstacle {
  const [first] = witnesses.toSorted((left, right) => (left.node.name < right.node.name ? -1 : 1));
  const status = first?.os?.status;
  // Its own words: those in `rollout` name the time of the next attempt.
  const said = status?.lastOrder?.fault === 'Image' ? status.lastOrder.message : (status?.rollout?.message ?? '');
  const message = `${digest} cannot be staged, and no node has; the agent on ${first?.node.name ?? ''} says: "${said}" No further node fetches it and none gets a slot. Push a corrected image and roll that out; nodes that have tried go on trying, in case it is repaired.`;
  return { type: 'ImageRefused', message };
}
