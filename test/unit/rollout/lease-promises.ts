/** What must hold for maintenance leases, judged without the planner's own code. */
import assert from 'node:assert/strict';
import type { Action, Plan } from '../../../operator/rollout/action.ts';
import type { LeaseSnapshot, Snapshot } from '../../../operator/rollout/snapshot.ts';

/** Nothing is done to a node that somebody else holds, nor to one that we do not hold; and no lease is held for nothing. */
export function keepsLeases(snapshot: Snapshot, made: Plan, time: number): void {
  const { leases } = snapshot;
  for (const action of made.actions) {
    if (leases === undefined) {
      assert.ok(
        action.kind !== 'TakeLease' && action.kind !== 'GiveUpLease',
        'a lease is written that nobody asked for',
      );
      continue;
    }
    const node = 'node' in action ? action.node : 'name' in action ? action.name : '';
    const lease = leases.get(node);
    const good = lease?.end !== undefined && lease.end.getTime() > time;
    judge(snapshot, action, node, lease, good);
  }
}

function judge(
  snapshot: Snapshot,
  action: Action,
  name: string,
  lease: LeaseSnapshot | undefined,
  good: boolean,
): void {
  const node = snapshot.nodes.find((one) => one.name === name);
  const os = snapshot.nodeOSes.find(({ metadata, spec }) => metadata.name === name && spec.nodeUID === node?.uid);
  const rollout = os?.status?.rollout;
  const order = os?.spec.order;
  const ours = good && lease?.ours === true;
  const theirs = good && lease?.ours === false;
  switch (action.kind) {
    case 'Cordon':
      if (action.by.startsWith('fleet-lock:')) return assert.ok(!theirs, `${name} is locked in somebody else's hands`);
      return assert.ok(ours, `${name} is disturbed without its lease (Cordon)`);
    case 'Drain':
      return assert.ok(ours, `${name} is disturbed without its lease (${action.kind})`);
    case 'Mark':
      if (action.marks.slot === 'On') assert.ok(ours, `${name} is marked without its lease`);
      return;
    case 'Uncordon':
      return assert.ok(!theirs, `${name} is uncordoned under somebody else's hands`);
    case 'WriteOrder':
      if (action.spec.order?.goal === 'Boot' && order?.id !== action.spec.order.id)
        assert.ok(ours, `a boot of ${name} is approved without its lease`);
      return;
    case 'WriteRollout':
      if (action.status.rollout.slotTime !== undefined && rollout?.slotTime === undefined)
        assert.ok(!theirs, `${name} gets a slot while somebody else holds it`);
      return;
    case 'TakeLease':
      assert.ok(!theirs, `the lease of ${name} is stolen`);
      assert.equal(action.resourceVersion, lease?.resourceVersion);
      assert.ok(rollout?.slotTime !== undefined, `the lease of ${name} is taken without a slot`);
      return;
    case 'GiveUpLease':
      assert.ok(lease?.ours, `a lease of ${name} is deleted that is not ours`);
      assert.ok(
        rollout?.slotTime === undefined || node?.ready !== true,
        `${name} holds a slot, works, and loses its lease`,
      );
      if (node?.ready === true) assert.equal(node.cordonedBy, undefined, `${name} loses its lease before its cordon`);
      return;
    default:
      return;
  }
}
