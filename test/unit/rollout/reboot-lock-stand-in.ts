/** Hosts of the simulated world that somebody else updates, and what must hold for the locks that they get. */
import assert from 'node:assert/strict';
import type { Action, Plan } from '../../../operator/rollout/action.ts';
import type { NodeSnapshot, Snapshot } from '../../../operator/rollout/snapshot.ts';
import { mayReboot } from './calendars.ts';
import type { World } from './world.ts';
import type { WorldNode } from './world-node.ts';

type Lock = Action & { readonly kind: 'Cordon'; readonly by: `fleet-lock:${string}` };

export function isLock(action: Action): action is Lock {
  return action.kind === 'Cordon' && action.by.startsWith('fleet-lock:');
}

/** The host of the node asks for a lock or, if it has one, may say that it is back. */
export function hostAsks(world: World, { name, cordonedBy }: WorldNode): void {
  const kind = cordonedBy?.startsWith('fleet-lock:') === true && world.chance(0.7) ? 'Unlock' : 'Lock';
  world.rebootWishes.set(name, { kind, id: name, group: world.chance(0.5) ? 'default' : 'fleet' });
}

/** All hosts are back. */
export function giveLocksBack(world: World): void {
  world.rebootWishes.clear();
  for (const { name } of world.nodes.values()) {
    world.rebootWishes.set(name, { kind: 'Unlock', id: name, group: 'default' });
  }
}

/** A lock goes to who asked for it, on a node that is there, in time, and within the budget. */
export function keepsLock(snapshot: Snapshot, { node: name, by, marks }: Lock, time: number): void {
  assert.equal(snapshot.rebootWishes?.get(name)?.kind, 'Lock', `${name} is locked unasked`);
  assert.equal(by, `fleet-lock:${name}`);
  assert.equal(marks.slot, 'On');
  const node = snapshot.nodes.find((one) => one.name === name);
  assert.ok(node?.ready && !slotOf(snapshot, node), `${name} is locked in the middle of something`);
  const [image] = snapshot.images.filter(({ object }) => {
    const { matchLabels = {} } = object.spec.nodeSelector;
    return Object.entries(matchLabels).every(([key, value]) => node.labels[key] === value);
  });
  assert.ok(image);
  const { rollout } = image.object.spec;
  assert.ok(!rollout.paused && (rollout.pauseRequests ?? []).length === 0, `${name} is locked in a pause`);
  assert.ok(mayReboot(image.object.spec, time), `${name} is locked outside of a window or in a freeze`);
  const lost = snapshot.nodes.filter((one) => !one.ready || one.cordoned || one.deleting || slotOf(snapshot, one));
  const most = share(rollout.maxUnavailable, snapshot.nodes.length);
  assert.ok(lost.length < most, `${lost.length + 1} nodes would be unavailable with ${name}, at most ${most} may be`);
}

/** One lock in a plan, and no slot beside it. */
export function keepsSlotsApart(snapshot: Snapshot, { actions }: Plan): void {
  assert.equal(actions.filter(isLock).length, 1);
  for (const action of actions) {
    if (action.kind !== 'WriteRollout' || action.status.rollout.slotTime === undefined) continue;
    const node = snapshot.nodes.find(({ name }) => name === action.name);
    assert.ok(node && slotOf(snapshot, node), `${action.name} gets a slot beside a lock`);
  }
}

function slotOf({ nodeOSes }: Snapshot, { name, uid }: NodeSnapshot): boolean {
  const os = nodeOSes.find(({ metadata, spec }) => metadata.name === name && spec.nodeUID === uid);
  return os?.status?.rollout?.slotTime !== undefined;
}

function share(value: number | string, of: number): number {
  if (typeof value === 'number') return value;
  const percent = Number.parseInt(value, 10);
  return percent === 0 ? 0 : Math.max(1, Math.floor((of * percent) / 100));
}
