/** `spec.rollout.order.controlPlane`: which of the two kinds of nodes has to wait until the other is done. */
import { namesOf } from './member.ts';
import type { Member } from './member.ts';
import type { Obstacle } from './obstacle.ts';
import type { Candidate, GateView } from './slot-gates.ts';
import type { ImageSnapshot } from './snapshot.ts';

/** The kind that waits, and what for. */
export interface WaitingRole {
  readonly controlPlane: boolean;
  readonly obstacle: Obstacle;
}

/** Says which of the nodes `members` of `image` wait for the others; undefined when none do. */
export function waitingRole({ object }: ImageSnapshot, members: readonly Member[]): WaitingRole | undefined {
  const { controlPlane } = object.spec.rollout.order;
  if (controlPlane === 'AsOthers' || !members.some(({ facts }) => facts.controlPlane)) return undefined;
  const first = controlPlane === 'First';
  const pending = members.filter(
    (member) => member.facts.controlPlane === first && isOutdated(member) && (first || canStillGo(member)),
  );
  if (pending.length === 0) return undefined;
  const rule = `spec.rollout.order.controlPlane ${controlPlane}`;
  const message = first
    ? `Control-plane nodes come first, and no other node gets a slot before all of them are updated (${rule}): waits for ${namesOf(pending)}.`
    : `Control-plane nodes come last, when no other is left that could be updated (${rule}): waits for ${namesOf(pending)}.`;
  return { controlPlane: !first, obstacle: { type: 'OutOfTurn', message } };
}

/** A gate of slots: closed to the kind of nodes whose turn comes later. */
export function outOfTurn({ member: { facts } }: Candidate, { waits }: GateView): Obstacle | undefined {
  return waits?.controlPlane === facts.controlPlane ? waits.obstacle : undefined;
}

/** A node that runs something newer, and stays on it, is waited for by nobody. */
function isOutdated({ membership, facts }: Member): boolean {
  return membership.kind === 'Ruled' && !facts.updated && facts.newer === undefined;
}

/** Among thousands of workers one is always broken: it must not keep the control plane on an old image for ever. */
function canStillGo({ node, target, facts }: Member): boolean {
  if (facts.failure !== undefined || facts.phase === 'Blocked' || target === undefined) return false;
  return facts.holdsSlot || (node.ready && !node.deleting);
}
