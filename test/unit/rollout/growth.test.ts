import assert from 'node:assert/strict';
import { stageOrder } from '../../../operator/rollout/order.ts';
import { plan } from '../../../operator/rollout/plan.ts';
import type { Snapshot } from '../../../operator/rollout/snapshot.ts';
import { NOW, imageOf, manifestOf, nodeOSOf, nodeOf, snapshotOf } from './fixtures.ts';
import type { NodeOSOptions } from './fixtures.ts';
import { newSlots } from './order-promises.ts';
import { keepsItsPromises, unfinished } from './promises.ts';
import { World } from './world.ts';

const TARGET = {
  digest: manifestOf('v2'),
  image: `ostree-unverified-registry:registry.example/os@${manifestOf('v2')}`,
};
const WAITING: NodeOSOptions = {
  staged: 'v2',
  order: stageOrder(TARGET, 0, 'boot-1'),
  rollout: { phase: 'AwaitingSlot' },
};
const at = (minute: number) => `2026-11-23T11:${String(minute).padStart(2, '0')}:00Z`;
const done = (minute: number): NodeOSOptions => ({
  booted: 'v2',
  rollout: { phase: 'Updated', phaseTime: at(minute) },
});
const failed = (minute: number): NodeOSOptions => ({
  rollout: { phase: 'Failed', preBootID: 'boot-0', phaseTime: at(minute) },
});
const SLOT: NodeOSOptions = { ...WAITING, rollout: { phase: 'Draining', slotTime: at(58) } };

/** Twenty nodes that wait, and `others`. */
function fleetOf(others: readonly NodeOSOptions[], growth: object, maxUnavailable = 20): Snapshot {
  const all = [...others, ...Array.from({ length: 20 }, () => WAITING)];
  const names = all.map((_, index) => `node-${index}`);
  return snapshotOf({
    images: [imageOf({ maxUnavailable, rollout: { growth, failureThreshold: 5 } })],
    nodes: names.map((name) => nodeOf(name)),
    nodeOSes: names.map((name, index) => nodeOSOf(name, all[index])),
  });
}

const slots = (snapshot: Snapshot) => newSlots(snapshot, plan(snapshot, NOW)).length;
const told = (snapshot: Snapshot): string => {
  const write = plan(snapshot, NOW).actions.find(({ kind }) => kind === 'WriteImageStatus');
  assert.ok(write?.kind === 'WriteImageStatus');
  return write.status.blockers?.find(({ type }) => type === 'GrowthSpent')?.message ?? '';
};
const times = (number: number, what: NodeOSOptions) => Array.from({ length: number }, () => what);

describe('Slots that grow', () => {
  it('are doubled each time that as many nodes as there are slots have been updated, as far as the budget goes', () => {
    const table: readonly (readonly [number, number])[] = [
      [0, 1],
      [1, 2],
      [2, 2],
      [3, 4],
      [6, 4],
      [7, 8],
      [15, 16],
    ];
    for (const [updated, expected] of table) {
      assert.equal(slots(fleetOf(times(updated, done(30)), {})), expected, `after ${updated}`);
    }
    assert.equal(slots(fleetOf(times(15, done(30)), {}, 3)), 3);
  });

  it('begin with initial, grow by factor, and end with max, also as percentages of the selected nodes', () => {
    assert.equal(slots(fleetOf([], { initial: '10%' })), 2);
    assert.equal(slots(fleetOf(times(2, done(30)), { initial: 2, factor: 5 })), 10);
    assert.equal(slots(fleetOf(times(2, done(30)), { initial: 2, factor: 5, max: 7 })), 7);
    assert.equal(slots(fleetOf([], { initial: 5, max: 3 })), 3);
  });

  it('fall back to initial when a node fails on the image, and grow again with those that are updated afterwards', () => {
    const good = times(7, done(30));
    assert.equal(slots(fleetOf([...good, failed(40)], {})), 1);
    assert.equal(slots(fleetOf([...good, failed(40), done(50)], {})), 2);
    assert.equal(slots(fleetOf([...good, failed(40), done(40)], {})), 1, 'in the same second is not afterwards');
    assert.equal(slots(fleetOf([failed(20), ...good, failed(40)], {})), 1, 'the last failure counts');
    const unstaged: NodeOSOptions = { rollout: { phase: 'Failed', attempts: 6, phaseTime: at(40) } };
    assert.equal(slots(fleetOf([...good, unstaged], {})), 8, 'what could not be staged says nothing about the image');
  });

  it('count those that are held, and say what is waited for', () => {
    const snapshot = fleetOf([SLOT, done(30)], {});
    assert.equal(slots(snapshot), 1);
    const spent = [SLOT, SLOT, done(30)];
    assert.equal(slots(fleetOf(spent, {})), 0);
    assert.match(
      told(fleetOf(spent, {})),
      /^At most 2 nodes may hold a slot at once.* More when 2 more nodes are updated and none fails\.$/,
    );
    // One of the two that it takes is updated already.
    assert.match(told(fleetOf([...spent, done(30)], {})), /^At most 2 .* More when 1 more node is updated/);
    assert.match(told(fleetOf([SLOT], {})), /^At most 1 node may hold a slot at once/);
    assert.match(told(fleetOf([SLOT], { max: 1 })), /the next slot is free when one of them is done\.$/);
  });

  it('do not wait for a node that keeps its slot because it has not come back', () => {
    const lost: NodeOSOptions = {
      rollout: { phase: 'Failed', slotTime: at(30), preBootID: 'boot-1', rebootDeadline: at(40), phaseTime: at(40) },
    };
    assert.equal(slots(fleetOf([lost], {})), 1);
  });

  it('bring a whole fleet to the target', () => {
    const world = new World(5);
    world.addImage({ name: 'fleet', maxUnavailable: '100%', rollout: { growth: { initial: 1, factor: 3 } } });
    for (let index = 0; index < 9; index++) world.addNode(`node-${index}`);
    world.settle(keepsItsPromises);
    assert.deepEqual(unfinished(world), []);
  });
});
