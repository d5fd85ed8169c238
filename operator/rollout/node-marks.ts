/**
 * What a Node wears by our doing: the cordon, the marks of a slot, and the taint for nodes that lack the target. They
 * change together, in one write of the Node, where they change at the same moment.
 */
import type { NodeOS } from '../../api/index.ts';
import type { Action, NodeMarks } from './action.ts';
import type { ImageFleet } from './fleet.ts';
import { isGated } from './joining.ts';
import { isTheirs, mayDisturb } from './maintenance-lease.ts';
import { isUnderWay } from './census.ts';
import type { Member } from './member.ts';
import { isRebootLocked } from './reboot-lock-mark.ts';
import { holdsSlot, ownsCordon } from './node-view.ts';
import type { NodeView, Step } from './node-view.ts';
import type { NodeSnapshot } from './snapshot.ts';

type MarkAction = Action & { readonly kind: 'Mark' };

/** Taints set or lifted in one plan. More would keep a node that has just been drained waiting for its turn. */
const TAINTS_AT_ONCE = 20;

/** The writes to the Node that `step` asks for, and the drain below them. */
export function cordonActions(member: Member, os: NodeOS, step: Step, view: NodeView): readonly Action[] {
  const { node } = view;
  const by = os.metadata.uid;
  // Under our cordon somebody else may be at work by now.
  if (step.cordon === 'Release' && ownsCordon(view) && node.ready && !isTheirs(view.lease)) {
    return [{ kind: 'Uncordon', node: node.name, by, marks: { ...withoutSlot(node), ...taintOf(member) } }];
  }
  if (step.cordon !== 'Hold' || !holdsSlot(os) || !mayDisturb(view)) return [];
  const balancers = view.drainPolicy.loadBalancerWaitSeconds > 0;
  const marks: NodeMarks = { slot: 'On', ...(balancers && { loadBalancers: true }) };
  if (!node.cordoned) return [{ kind: 'Cordon', node: node.name, by, marks }];
  return [
    // Cordoned by somebody else, and still in our hands for as long as the slot lasts.
    ...(node.marked ? [] : [{ kind: 'Mark', node: node.name, marks } as const]),
    ...(step.drain === undefined ? [] : [{ kind: 'Drain', node: node.name, how: step.drain } as const]),
  ];
}

/** Actions for cordons whose NodeOS is gone: the mark says that they are ours, and nobody else would lift them. */
export function forgottenCordons(members: readonly Member[], nodeOSes: readonly NodeOS[]): readonly Action[] {
  if (members.every(({ node }) => node.cordonedBy === undefined)) return [];
  const known = new Set(nodeOSes.map((os) => os.metadata.uid));
  return members.flatMap(({ node, lease }): Action[] => {
    if (node.cordonedBy === undefined || known.has(node.cordonedBy) || !node.ready || node.deleting) return [];
    if (isTheirs(lease) || isRebootLocked(node)) return [];
    return [{ kind: 'Uncordon', node: node.name, by: node.cordonedBy, marks: withoutSlot(node) }];
  });
}

/**
 * Marks that a Node wears without a slot come off; a node that lacks the target while others have it, or are about to,
 * is tainted, so that the pods of a drained node go where they can stay. Last in a plan: nothing waits for these.
 */
export function looseMarks(members: readonly Member[], fleets: readonly ImageFleet[]): readonly MarkAction[] {
  // A bad image that is never staged taints no node.
  const moving = new Set(fleets.filter(({ census }) => isUnderWay(census)).map(({ image }) => image));
  const actions: MarkAction[] = [];
  for (const member of members) {
    const { node, membership, facts } = member;
    // What belongs to a slot or to a cordon of ours goes on and off with it.
    if (node.deleting || node.cordonedBy !== undefined || facts.holdsSlot) continue;
    const underWay = membership.kind === 'Ruled' && moving.has(membership.image);
    const slot = withoutSlot(node);
    const taint = taintOf(member, underWay);
    const gate = gateOf(member);
    if (slot === NONE && taint === NONE && gate === NONE) continue;
    actions.push({ kind: 'Mark', node: node.name, marks: { ...slot, ...taint, ...gate } });
    if (actions.length === TAINTS_AT_ONCE) break;
  }
  return actions;
}

/** Nothing to change, which is so for most nodes in most plans. */
const NONE: NodeMarks = {};

function gateOf(member: Member): NodeMarks {
  const gated = isGated(member);
  return gated === undefined || gated === member.node.gated ? NONE : { gated };
}

function withoutSlot(node: NodeSnapshot): NodeMarks {
  return node.marked ? { slot: 'Off' } : NONE;
}

/**
 * The change to the taint, if any. It is set only while the rollout is `underWay`, and then stays until the node has the
 * target or is left alone: over pauses, and over the moment in which a new target has no node yet.
 */
function taintOf({ node, facts }: Member, underWay = false): NodeMarks {
  const wanted = facts.lacksTarget;
  const outdated = wanted === true ? node.outdated || underWay : wanted;
  return outdated === undefined || outdated === node.outdated ? NONE : { outdated };
}
