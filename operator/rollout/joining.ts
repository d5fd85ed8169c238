/** Nodes that join a fleet which is done: they need not wait for a time at which the others may be disturbed. */
import type { OSImage } from '../../api/index.ts';
import type { Census } from './census.ts';
import type { Member } from './member.ts';
import type { Obstacle } from './obstacle.ts';

/** True when all nodes of `image` have been brought to its target: whoever is outdated from now on has come later. */
export function welcomesNewNodes({ spec, status }: OSImage): boolean {
  const { target, current } = status ?? {};
  return spec.newNodes !== 'Wait' && target !== undefined && target.digest === current?.digest;
}

/** True for a node that has joined since then and is on its way to the target. */
export function isJoining({ membership, os }: Member): boolean {
  const waits = membership.kind !== 'Ruled' || membership.image.object.spec.newNodes === 'Wait';
  return !waits && os?.status?.rollout?.joining === true;
}

/** What of `closed` holds for nodes that join: windows are for nodes with work on them. */
export function closedToJoining(closed: readonly Obstacle[]): readonly Obstacle[] {
  return closed.filter(({ type }) => type !== 'WindowClosed' && type !== 'WindowTooShort');
}

/** What of `closed` keeps anybody from anything: a closed window does not when only joining nodes are outdated. */
export function closedToAny(closed: readonly Obstacle[], { outdated }: Census): readonly Obstacle[] {
  return outdated.length > 0 && outdated.every(isJoining) ? closedToJoining(closed) : closed;
}

/**
 * Whether the node is to carry the taint of nodes that are not ready for pods yet; undefined to leave it as it is. A taint
 * that its kubelet has put on is taken off with ours: the promise is about when, not about who.
 */
export function isGated(member: Member): boolean | undefined {
  const { node, membership, os } = member;
  if (membership.kind === 'Unselected') return os === undefined ? undefined : false;
  if (membership.kind !== 'Ruled') return false;
  const { object } = membership.image;
  if (object.spec.newNodes !== 'Gate') return false;
  if (os === undefined) return node.gated || welcomesNewNodes(object);
  return isJoining(member) || (node.gated && !member.facts.updated);
}
