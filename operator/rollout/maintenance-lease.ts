/**
 * Whose turn a node is, among those who maintain it. A node that somebody else holds gets no slot; a node that holds one
 * is held by us, from before its cordon until after it, so that no remediator takes our reboot for a failure. What goes
 * wrong with it in a way that is not our doing is left to them.
 */
import { toTimestamp } from '../../api/index.ts';
import type { NodeOS } from '../../api/index.ts';
import type { Action } from './action.ts';
import type { Census } from './census.ts';
import type { Member } from './member.ts';
import { after, passed } from './node-view.ts';
import type { NodeView } from './node-view.ts';
import type { Obstacle } from './obstacle.ts';
import { isRebootLocked } from './reboot-lock-mark.ts';
import type { Candidate } from './slot-gates.ts';
import type { LeaseSnapshot, Snapshot } from './snapshot.ts';

/** For how long a lease is good after each renewal: as long as the node maintenance operator asks for. */
export const LEASE_SECONDS = 3600;

/** Renewed when this little is left: a slot of the usual length costs no renewal, and an operator may be away for as long. */
const RENEW_BEFORE_SECONDS = 1800;

/** The end of a lease that is renewed more often than this is not told: it would cost a write each time. */
const TOLD_FROM_SECONDS = 600;

export type LeaseStanding =
  | { readonly whose: 'Nobody'; readonly resourceVersion?: string }
  | { readonly whose: 'Ours'; readonly resourceVersion: string; readonly end: Date | undefined }
  | { readonly whose: 'Theirs'; readonly lease: LeaseSnapshot; readonly end: Date };

/** Whose the lease of `node` is at `now`; undefined while leases are not turned on. */
export function standingOf({ leases }: Snapshot, node: string, now: Date): LeaseStanding | undefined {
  if (leases === undefined) return undefined;
  const lease = leases.get(node);
  if (lease === undefined) return { whose: 'Nobody' };
  const { end, ours, resourceVersion } = lease;
  if (ours) return { whose: 'Ours', resourceVersion, end };
  if (end === undefined || passed(end, now)) return { whose: 'Nobody', resourceVersion };
  return { whose: 'Theirs', lease, end };
}

/** True when the node may be cordoned, emptied and booted: nobody has a say in it, or the say is ours. */
export function mayDisturb({ lease, now }: NodeView): boolean {
  return lease === undefined || (lease.whose === 'Ours' && !passed(lease.end, now));
}

/** True when the node, once empty, may be taken down. */
export function mayReboot(view: NodeView): boolean {
  return mayDisturb(view) && view.spared === undefined;
}

/** True when somebody else holds the node. */
export function isTheirs(lease: LeaseStanding | undefined): lease is LeaseStanding & { whose: 'Theirs' } {
  return lease?.whose === 'Theirs';
}

/** A gate of slots for one node: closed while somebody else maintains it. */
export function heldByOthers({ member: { node, lease } }: Pick<Candidate, 'member'>): Obstacle | undefined {
  if (!isTheirs(lease)) return undefined;
  const message = `${node.name} is being maintained by ${told(lease)}, and gets no slot before that lease is given back or runs out; if nobody maintains it, delete the Lease.`;
  return { type: 'MaintenanceLeaseHeld', node: node.name, object: lease.lease.object, message, wake: lease.end };
}

/** Nodes in the middle of their slot that somebody else has taken: nothing more is done to them. */
export function leasesLost({ ruled }: Census): readonly Obstacle[] {
  return ruled.flatMap(({ node, lease, facts }): Obstacle[] => {
    if (!isTheirs(lease)) return [];
    const busy = (node.cordonedBy !== undefined && !isRebootLocked(node)) || facts.holdsSlot;
    if (!busy) return [];
    const message = `${node.name} holds a slot and is being maintained by ${told(lease)}; Treeline goes on with it when that lease is given back or runs out.`;
    return [{ type: 'MaintenanceLeaseHeld', node: node.name, object: lease.lease.object, message, wake: lease.end }];
  });
}

/** What a node that waits for its lease says. */
export function leaseMessage({ lease, node }: NodeView): string {
  if (!isTheirs(lease)) {
    return node.ready
      ? 'Holds a slot; waits for its maintenance lease.'
      : 'Holds a slot and is not Ready; its maintenance lease is left to whoever repairs it.';
  }
  return `Holds a slot; waits until ${lease.lease.holder} gives the maintenance lease of the node back.`;
}

function told({ lease, end }: LeaseStanding & { whose: 'Theirs' }): string {
  const until = lease.durationSeconds < TOLD_FROM_SECONDS ? '' : ` until ${toTimestamp(end)}`;
  return `${lease.holder} (${lease.object}${until})`;
}

/** The leases to be taken, renewed and given up, and when that may differ although nothing changes. */
export function leaseActions(
  members: readonly Member[],
  { leases }: Snapshot,
  now: Date,
): { readonly actions: readonly Action[]; readonly wakes: readonly Date[] } {
  const actions: Action[] = [];
  const wakes: Date[] = [];
  if (leases === undefined) return { actions, wakes };
  const known = new Set<string>();
  for (const { node, os, lease } of members) {
    known.add(node.name);
    if (lease === undefined) continue;
    const ends = inHandsUntil(node.ready, os);
    const mine = ends !== 'Never' && (ends === 'Open' || !passed(ends, now));
    if (lease.whose === 'Theirs') {
      if (mine || node.cordonedBy !== undefined) wakes.push(lease.end);
    } else if (mine) {
      const renewal = lease.whose === 'Ours' && lease.end ? before(lease.end, RENEW_BEFORE_SECONDS) : now;
      if (!passed(renewal, now)) wakes.push(renewal);
      else actions.push({ kind: 'TakeLease', node: node.name, nodeUID: node.uid, ...versionOf(lease) });
      if (ends !== 'Open') wakes.push(ends);
    } else if (lease.whose === 'Ours') {
      // Nobody else is to find our cordon there; but a node that is down is not waited for.
      const uncordoned = node.cordonedBy === undefined || !node.ready;
      if (uncordoned) actions.push({ kind: 'GiveUpLease', node: node.name, resourceVersion: lease.resourceVersion });
    }
  }
  // Of nodes that are gone: garbage collection takes them too, where there is any.
  for (const [node, { ours, resourceVersion }] of leases) {
    if (ours && !known.has(node)) actions.push({ kind: 'GiveUpLease', node, resourceVersion });
  }
  return { actions, wakes };
}

/**
 * Until when what becomes of a node is our doing. One that is not Ready is down because we boot it, or else it is down
 * by itself: then whoever repairs nodes must not be kept from it by us.
 */
function inHandsUntil(ready: boolean, os: NodeOS | undefined): Date | 'Open' | 'Never' {
  const rollout = os?.status?.rollout;
  if (rollout?.slotTime === undefined) return 'Never';
  if (ready) return 'Open';
  const booting = rollout.phase === 'Rebooting' || rollout.phase === 'Verifying';
  return booting && rollout.rebootDeadline !== undefined ? new Date(rollout.rebootDeadline) : 'Never';
}

function versionOf(lease: LeaseStanding & { whose: 'Nobody' | 'Ours' }): { readonly resourceVersion?: string } {
  return lease.resourceVersion === undefined ? {} : { resourceVersion: lease.resourceVersion };
}

function before(time: Date, seconds: number): Date {
  return after(toTimestamp(time), -seconds);
}
