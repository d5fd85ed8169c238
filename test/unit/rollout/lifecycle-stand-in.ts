/** Kubernetes' lifecycle conditions in the simulated world: ours, and those that others set; and what must hold for them. */
import assert from 'node:assert/strict';
import type { Action, Plan } from '../../../operator/rollout/action.ts';
import type { ConditionSnapshot, NodeSnapshot, Snapshot } from '../../../operator/rollout/snapshot.ts';
import type { World } from './world.ts';
import type { WorldNode } from './world-node.ts';

const OURS = 'TreelineRollout';
const TYPES = ['MaintenanceInProgress', 'DrainInProgress', 'Drained'];

export function tellTurn(world: World, { node: name, set, remove }: Action & { kind: 'TellLifecycle' }): boolean {
  const node = world.nodes.get(name);
  if (node === undefined) return false;
  for (const type of set) node.conditions[type] = { status: 'True', reason: OURS, time: world.timestamp() };
  for (const type of remove) delete node.conditions[type];
  return true;
}

/** Somebody says that they are at work on the node, or no longer. */
export function workByOthers(world: World, node: WorldNode): void {
  const type = world.pick(TYPES) ?? '';
  if (world.chance(0.4)) delete node.conditions[type];
  else node.conditions[type] = { status: world.chance(0.7) ? 'True' : 'False', reason: 'KubectlDrainStarted' };
}

export function leaveNodesAlone(world: World): void {
  for (const { conditions } of world.nodes.values()) {
    for (const type of TYPES) if (conditions[type]?.reason !== OURS) delete conditions[type];
  }
}

/** True when something of ours is still said of the node. */
export function isTold({ conditions }: WorldNode): boolean {
  return TYPES.some((type) => conditions[type]?.reason === OURS);
}

/** We speak only of nodes in a slot, never over somebody else, and disturb nobody who says that they are at work. */
export function keepsLifecycle(snapshot: Snapshot, { actions }: Plan): void {
  for (const action of actions) {
    if (action.kind === 'TellLifecycle') keepsOneWrite(snapshot, action);
    if (action.kind !== 'WriteRollout' || action.status.rollout.slotTime === undefined) continue;
    const node = snapshot.nodes.find(({ name }) => name === action.name);
    if (snapshot.lifecycle !== true || node === undefined || slotOf(snapshot, node)) continue;
    for (const type of ['MaintenanceInProgress', 'DrainInProgress']) {
      const condition: ConditionSnapshot | undefined = node.conditions?.[type];
      const theirs: boolean = condition?.status === 'True' && condition.reason !== OURS;
      assert.ok(!theirs, `${node.name} gets a slot while its ${type} is True`);
    }
  }
}

function keepsOneWrite(snapshot: Snapshot, { node: name, set, remove }: Action & { kind: 'TellLifecycle' }): void {
  assert.equal(snapshot.lifecycle, true, 'conditions are written that nobody asked for');
  const node = snapshot.nodes.find((one) => one.name === name);
  assert.ok(node && set.length + remove.length > 0);
  if (set.length > 0) assert.ok(node.cordoned && slotOf(snapshot, node), `${name} is in nobody's hands`);
  for (const type of set) assert.notEqual(node.conditions?.[type]?.status, 'True', `${type} of ${name} is so already`);
  for (const type of remove) assert.equal(node.conditions?.[type]?.reason, OURS, `${type} of ${name} is not ours`);
}

function slotOf({ nodeOSes }: Snapshot, { name, uid }: NodeSnapshot): boolean {
  const os = nodeOSes.find(({ metadata, spec }) => metadata.name === name && spec.nodeUID === uid);
  return os?.status?.rollout?.slotTime !== undefined;
}
