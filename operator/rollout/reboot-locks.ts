/**
 * Hosts that somebody else updates ask before they reboot (FleetLock). A lock is a cordon of ours that names the host
 * instead of a NodeOS: it counts in every budget as any cordon does, and is durable on the Node.
 */
import type { Action } from './action.ts';
import type { Fleet, ImageFleet } from './fleet.ts';
import { isTheirs } from './maintenance-lease.ts';
import type { Member } from './member.ts';
import { holdsSlot } from './node-view.ts';
import type { Obstacle } from './obstacle.ts';
import { isRebootLocked, lockMark } from './reboot-lock-mark.ts';
import type { Candidate } from './slot-gates.ts';
import type { RebootWish } from './snapshot.ts';

/** A gate of slots for one node: closed while its host reboots by itself. */
export function rebootLocked({ member: { node } }: Pick<Candidate, 'member'>): Obstacle | undefined {
  if (!isRebootLocked(node)) return undefined;
  const message = `${node.name} was allowed to reboot by itself (FleetLock), and gets no slot before its host says that it is back, at /v1/steady-state; if it never will, uncordon the node.`;
  return { type: 'RebootLocked', node: node.name, message };
}

type LockAction = Action & { readonly kind: 'Cordon' | 'Uncordon' };

export interface LockDecisions {
  readonly actions: readonly LockAction[];
  /** Why a host has to ask again later, by node. */
  readonly refusals: ReadonlyMap<string, string>;
}

/**
 * Decides about `wishes`, by node. At most one lock in a plan, and none beside a new slot: what is granted is counted
 * before the next. A wish without action and without refusal is decided by the next plan.
 */
export function decideLocks(fleet: Fleet, wishes: ReadonlyMap<string, RebootWish>): LockDecisions {
  const actions: LockAction[] = [];
  const refusals = new Map<string, string>();
  let free = fleet.images.every(({ granting }) => !granting);
  for (const member of fleet.members) {
    const { node } = member;
    const wish = wishes.get(node.name);
    if (wish === undefined) continue;
    const by = lockMark(wish.id);
    if (wish.kind === 'Unlock') {
      if (!isRebootLocked(node)) continue;
      if (isTheirs(member.lease))
        refusals.set(node.name, `${node.name} is being maintained by ${member.lease.lease.holder}`);
      else actions.push({ kind: 'Uncordon', node: node.name, by, marks: { slot: 'Off' } });
      continue;
    }
    // Granted already, or the mark of a cordon that somebody lifted, which this plan takes off.
    if (node.cordonedBy === by) continue;
    const refusal = whyNot(member, wish, fleet.images);
    if (refusal !== undefined) refusals.set(node.name, refusal);
    else if (free) {
      actions.push({ kind: 'Cordon', node: node.name, by, marks: { slot: 'On' } });
      free = false;
    }
  }
  return { actions, refusals };
}

function whyNot(member: Member, { group }: RebootWish, images: readonly ImageFleet[]): string | undefined {
  const { node, os } = member;
  const selecting = images.filter(({ census }) => census.members.some((one) => one.node.name === node.name));
  const [image] = selecting.filter((one) => group === 'default' || one.image.object.metadata.name === group);
  if (image === undefined) {
    const names = selecting.map((one) => one.image.object.metadata.name).join(', ');
    return `no OSImage ${group} selects ${node.name}${names === '' ? '' : `; those that do: ${names}`}`;
  }
  if (os !== undefined && holdsSlot(os)) return `Treeline is updating ${node.name} itself`;
  if (node.cordoned) return `${node.name} is cordoned already, by somebody else`;
  if (!node.ready || node.deleting) return `${node.name} is not Ready, or is being deleted`;
  return image.lockObstacle(member)?.message;
}
