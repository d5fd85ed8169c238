import assert from 'node:assert/strict';
import { rolloutStepsSchema } from '../../../api/rollout-steps.ts';
import type { StepStatus } from '../../../api/index.ts';
import { digestOf, manifestOf } from './fixtures.ts';
import { keepsItsPromises, unfinished } from './promises.ts';
import { World } from './world.ts';

const CANARY = { name: 'canary', nodeSelector: { matchLabels: { canary: 'true' } } };

/** Six nodes, the first two of them canaries. */
function worldOf(steps: readonly object[], rollout: object = {}): World {
  const world = new World(7);
  world.addImage({ name: 'fleet', maxUnavailable: 2, rollout: { steps, ...rollout } });
  for (let index = 0; index < 6; index++) world.addNode(`node-${index}`, index < 2 ? { canary: 'true' } : {});
  return world;
}

function run(world: World, seconds = 600): void {
  for (let second = 0; second < seconds; second += 5) {
    world.act(keepsItsPromises);
    world.advance(5);
  }
}

const setRollout = (world: World, change: object) =>
  world.edit('fleet', (spec) => ({ ...spec, rollout: { ...spec.rollout, ...change } }));
const setSteps = (world: World, steps: readonly object[]) =>
  setRollout(world, { steps: rolloutStepsSchema.parse(steps) });
const approve = (world: World, name: string, version = 'v2') =>
  setRollout(world, { approvedStep: { name, digest: digestOf(version) } });
const statusOf = (world: World) => world.images.get('fleet')?.status;
const stepOf = (world: World): Partial<StepStatus> => statusOf(world)?.step ?? {};
const reasonOf = (world: World, type: string) => statusOf(world)?.conditions?.find((one) => one.type === type)?.reason;
const blockerOf = (world: World, type: string) =>
  statusOf(world)?.blockers?.find((one) => one.type === type)?.message ?? 'no such blocker';

function updated(world: World, version = 'v2'): readonly string[] {
  return [...world.nodes.values()]
    .filter(({ machine }) => machine.booted === manifestOf(version))
    .map(({ name }) => name);
}

function rollOut(world: World, version: string): void {
  const reference = `registry.example/os:${version}`;
  world.tags.set(reference, version);
  world.edit('fleet', (spec) => ({ ...spec, image: { ...spec.image, reference } }));
}

describe('A canary', () => {
  it('goes alone, soaks, and lets all others go afterwards', () => {
    const world = worldOf([{ ...CANARY, soakSeconds: 3600 }]);
    run(world);
    assert.deepEqual(updated(world), ['node-0', 'node-1']);
    assert.equal(stepOf(world).summary, '1/1 canary (soaking)');
    assert.equal(reasonOf(world, 'Ready'), 'StepSoaking');
    assert.match(blockerOf(world, 'StepSoaking'), /Step canary \(1 of 1\) is updated and soaks until .*Z/);
    run(world, 3600);
    assert.deepEqual(unfinished(world), []);
    assert.equal(statusOf(world)?.step, undefined, 'a fleet that is done is in no step');
    assert.ok(world.events.includes('fleet StepStarted'));
  });

  it('that is Manual waits for an approval of this very image, however long, and is not stalled by it', () => {
    const world = worldOf([{ ...CANARY, approval: 'Manual' }]);
    approve(world, 'canary', 'v1');
    run(world, 9000);
    assert.deepEqual(updated(world), ['node-0', 'node-1']);
    assert.equal(stepOf(world).state, 'AwaitingApproval');
    assert.equal(reasonOf(world, 'Ready'), 'StepAwaitingApproval');
    assert.equal(reasonOf(world, 'Stalled'), 'NothingStalled');
    const patch = `'{"spec":{"rollout":{"approvedStep":{"name":"canary","digest":"${digestOf('v2')}"}}}}'`;
    assert.ok(
      blockerOf(world, 'StepAwaitingApproval').includes(`kubectl patch osimage fleet --type merge -p ${patch}`),
    );
    assert.match(blockerOf(world, 'StepAwaitingApproval'), /about another image/);
    assert.equal(world.events.filter((event) => event === 'fleet StepAwaitingApproval').length, 1);
    approve(world, 'canary');
    run(world);
    assert.deepEqual(unfinished(world), []);
    rollOut(world, 'v3');
    run(world, 9000);
    assert.deepEqual(updated(world, 'v3'), ['node-0', 'node-1'], "yesterday's approval is none for today's image");
  });

  it('that is Manual soaks once, and goes on at once when it is approved after that', () => {
    const world = worldOf([{ ...CANARY, approval: 'Manual', soakSeconds: 600 }]);
    run(world, 1800);
    assert.equal(stepOf(world).state, 'AwaitingApproval');
    const since = stepOf(world).since;
    run(world, 3600);
    assert.equal(stepOf(world).state, 'AwaitingApproval');
    assert.equal(stepOf(world).since, since);
    approve(world, 'canary');
    run(world, 30);
    assert.equal(stepOf(world).state, 'Done');
  });

  it('may be approved before it has succeeded, and goes on as soon as it has', () => {
    const world = worldOf([{ ...CANARY, approval: 'Manual', soakSeconds: 60 }]);
    approve(world, 'canary');
    run(world, 1200);
    assert.deepEqual(unfinished(world), []);
  });

  it('that fails holds the others, and the blocker names it', () => {
    const world = worldOf([CANARY], { failureThreshold: 3 });
    const [first] = world.nodes.values();
    assert.ok(first);
    world.fatalDigests.add(manifestOf('v2'));
    run(world, 300);
    world.fatalDigests.clear();
    run(world, 3000);
    const left = stepOf(world);
    assert.equal(left.state, 'Updating');
    assert.match(
      blockerOf(world, 'StepIncomplete'),
      /of the 2 nodes that it needs are updated and Ready\. node-.* failed/,
    );
    assert.ok(updated(world).every((name) => name === 'node-0' || name === 'node-1'));
  });

  it('soaks anew when one of its nodes is not well in the middle', () => {
    const world = worldOf([{ ...CANARY, soakSeconds: 1800 }]);
    run(world, 900);
    const since = stepOf(world).since;
    assert.equal(stepOf(world).state, 'Soaking');
    const [node] = world.nodes.values();
    assert.ok(node);
    node.ready = false;
    node.brokenUntil = world.time + 120_000;
    run(world, 60);
    assert.equal(stepOf(world).state, 'Updating');
    run(world, 300);
    assert.equal(stepOf(world).state, 'Soaking');
    assert.notEqual(stepOf(world).since, since);
  });

  it('is joined by a node that gets its label late, which neither begins the soak again nor waits for its end', () => {
    const world = worldOf([{ ...CANARY, soakSeconds: 3600 }]);
    run(world);
    const since = stepOf(world).since;
    const late = world.nodes.get('node-5');
    assert.ok(late);
    late.labels['canary'] = 'true';
    run(world);
    assert.deepEqual(updated(world), ['node-0', 'node-1', 'node-5']);
    assert.deepEqual([stepOf(world).state, stepOf(world).since], ['Soaking', since]);
  });

  it('without a node holds everything, since a typing mistake must not be a rollout without a canary', () => {
    const world = worldOf([{ name: 'canary', nodeSelector: { matchLabels: { canarry: 'true' } } }]);
    run(world);
    assert.deepEqual(updated(world), []);
    assert.match(blockerOf(world, 'StepEmpty'), /has no node that could be updated.*correct its nodeSelector/);
    setSteps(world, [CANARY]);
    run(world, 1200);
    assert.deepEqual(unfinished(world), []);
  });
});

describe('Waves', () => {
  it('take as many nodes as their limits say, one wave after the other, each counting those before', () => {
    const world = worldOf([
      { name: 'one', limit: 1, approval: 'Manual' },
      { name: 'half', limit: '50%', approval: 'Manual' },
    ]);
    run(world);
    assert.equal(updated(world).length, 1);
    approve(world, 'one');
    run(world);
    assert.equal(updated(world).length, 3);
    assert.equal(stepOf(world).summary, '2/2 half (approve)');
    approve(world, 'half');
    run(world, 1200);
    assert.deepEqual(unfinished(world), []);
  });

  it('succeed with fewer nodes than they take, if the threshold says so', () => {
    const world = worldOf([{ name: 'most', limit: 4, successThreshold: '50%', soakSeconds: 100_000 }]);
    run(world, 1200);
    assert.equal(stepOf(world).nodesNeeded, 2);
    assert.equal(updated(world).length, 4);
  });

  it('that were passed stay passed when the list changes, and a new one is gone through', () => {
    const world = worldOf([CANARY, { name: 'hold', limit: 3, approval: 'Manual' }]);
    run(world, 900);
    assert.deepEqual(stepOf(world).passed, ['canary']);
    assert.equal(updated(world).length, 3);
    setSteps(world, [{ name: 'four', limit: 4, approval: 'Manual' }, CANARY]);
    run(world, 900);
    assert.deepEqual(stepOf(world).passed, ['canary']);
    assert.equal(stepOf(world).name, 'four');
    assert.equal(updated(world).length, 4);
    setSteps(world, []);
    run(world, 900);
    assert.deepEqual(unfinished(world), []);
  });

  it('begin anew with another target', () => {
    const world = worldOf([{ ...CANARY, approval: 'Manual' }]);
    run(world);
    rollOut(world, 'v3');
    run(world);
    assert.deepEqual(updated(world, 'v3'), ['node-0', 'node-1']);
    assert.deepEqual([stepOf(world).digest, stepOf(world).passed], [digestOf('v3'), []]);
    assert.deepEqual(updated(world), []);
  });

  it('are not waited for on the way back, nor by nodes that join a fleet which is done', () => {
    const world = worldOf([], { onFailure: 'RollBack', failureThreshold: 1 });
    run(world, 1200);
    assert.deepEqual(unfinished(world), []);
    setSteps(world, [{ ...CANARY, approval: 'Manual' }]);
    world.addNode('node-9');
    run(world);
    assert.ok(updated(world).includes('node-9'));
    rollOut(world, 'v3');
    run(world);
    assert.equal(stepOf(world).state, 'AwaitingApproval');
    approve(world, 'canary', 'v3');
    world.fatalDigests.add(manifestOf('v3'));
    run(world, 1800);
    assert.equal(statusOf(world)?.target?.version, 'v2');
    assert.equal(updated(world).length, 7, 'all are back without anybody having approved it');
  });
});
