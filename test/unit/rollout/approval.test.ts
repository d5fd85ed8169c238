/** What `treeline approve` finds to approve, and what it says when there is nothing. */
import assert from 'node:assert/strict';
import { approvable } from '../../../operator/rollout/approval.ts';
import { digestOf } from './fixtures.ts';
import { keepsItsPromises } from './promises.ts';
import { World } from './world.ts';

const STEPS = [
  { name: 'canary', nodeSelector: { matchLabels: { canary: 'true' } }, soakSeconds: 600, approval: 'Manual' },
  { name: 'tenth', limit: 1, approval: 'Manual' },
];

function worldOf(steps: readonly object[]): World {
  const world = new World(7);
  world.addImage({ name: 'fleet', rollout: { steps } });
  for (const name of ['a', 'b', 'c']) world.addNode(name, name === 'a' ? { canary: 'true' } : {});
  return world;
}

/** Goes on until the step is `state`, for `rounds` more plans at least. */
function until(world: World, state: string, rounds = 0): void {
  for (let round = 0; round < 500; round++) {
    world.act(keepsItsPromises);
    if (round >= rounds && world.images.get('fleet')?.status?.step?.state === state) return;
    world.advance(5);
  }
  assert.fail(`the step is never ${state}`);
}

function asked(world: World, step?: string) {
  const image = world.images.get('fleet');
  assert.ok(image);
  return approvable(image, step);
}

function refusalOf(world: World, step?: string): string {
  const found = asked(world, step);
  assert.ok('refusal' in found, JSON.stringify(found));
  return found.refusal;
}

describe('An approval', () => {
  it('is of the step that waits and of the digest that its nodes run, and of nothing that has not proved itself', () => {
    const world = worldOf(STEPS);
    assert.match(refusalOf(world), /has not spoken about the present spec/);
    until(world, 'Updating');
    assert.match(refusalOf(world), /^Step canary \(1 of 2\) of OSImage fleet is not done: 0 of the 1 nodes/);
    until(world, 'Soaking');
    assert.match(refusalOf(world), /soaks since 2026-/);
    until(world, 'AwaitingApproval');
    const approval = { name: 'canary', digest: digestOf('v2') };
    assert.deepEqual(asked(world), { approval, version: 'v2', given: false });
    assert.deepEqual(asked(world, 'canary'), asked(world));
    assert.match(refusalOf(world, 'tenth'), /^Step canary .* comes before tenth\.$/);
    assert.match(refusalOf(world, 'wave'), /has no step wave; its steps: canary, tenth\./);
    const stale = { name: 'canary', digest: digestOf('v1') };
    world.edit('fleet', (spec) => ({ ...spec, rollout: { ...spec.rollout, approvedStep: stale } }));
    until(world, 'AwaitingApproval', 1);
    assert.deepEqual(asked(world), { approval, version: 'v2', given: false }, 'what is given is about another image');
    world.edit('fleet', (spec) => ({ ...spec, rollout: { ...spec.rollout, approvedStep: approval } }));
    assert.match(refusalOf(world), /has not spoken about the present spec/);
    until(world, 'AwaitingApproval');
    assert.match(refusalOf(world, 'canary'), /Step canary of OSImage fleet is passed; it is now at step tenth\./);
  });

  it('says why there are no steps to go through', () => {
    const done = worldOf([]);
    done.settle(keepsItsPromises);
    assert.match(refusalOf(done), /goes through no steps now: spec\.rollout\.steps is empty/);
    const gone = worldOf(STEPS.map((step) => ({ ...step, approval: 'Automatic' })));
    gone.settle(keepsItsPromises);
    assert.match(refusalOf(gone), /its nodes have all run the target before/);
  });
});
