import assert from 'node:assert/strict';
import { manifestOf } from './fixtures.ts';
import { keepsItsPromises, unfinished } from './promises.ts';
import { World } from './world.ts';

/** Only in the first minutes of a year. */
const NEVER = {
  name: 'never',
  schedule: '0 0 1 1 *',
  durationSeconds: 600,
  timeZone: 'UTC',
  actions: ['Stage', 'Reboot'],
};

/** A fleet that runs v2, in which windows have closed since. */
function done(newNodes: string): World {
  const world = new World(3);
  world.addImage({ name: 'fleet', policy: { newNodes } });
  for (const name of ['node-0', 'node-1']) world.addNode(name);
  world.settle(keepsItsPromises);
  assert.deepEqual(unfinished(world), []);
  world.edit('fleet', (spec) => ({ ...spec, windows: [NEVER] as typeof spec.windows }));
  return world;
}

function run(world: World, rounds = 60): void {
  for (let round = 0; round < rounds; round++) {
    world.act(keepsItsPromises);
    world.advance(5);
  }
}

const bootedOf = (world: World, name: string) => world.nodes.get(name)?.machine.booted;

describe('A node that joins a fleet which is done', () => {
  it('waits for the next window as any outdated node, unless the spec says otherwise', () => {
    const world = done('Wait');
    world.addNode('node-9');
    run(world);
    assert.equal(bootedOf(world, 'node-9'), manifestOf('v1'));
  });

  it('is updated right away with UpdateOnJoin, outside of windows, while the others stay out of them', () => {
    const world = done('UpdateOnJoin');
    world.addNode('node-9');
    const [old] = world.nodes.values();
    assert.ok(old);
    old.machine.booted = manifestOf('v1');
    run(world);
    assert.equal(bootedOf(world, 'node-9'), manifestOf('v2'));
    assert.equal(bootedOf(world, 'node-0'), manifestOf('v1'), 'what fell back later waits for its window');
    assert.equal(world.nodeOSes.get('node-9')?.status?.rollout?.joining, undefined, 'it is one of them now');
  });

  it('keeps to freezes, pauses and the budget', () => {
    const frozen = done('UpdateOnJoin');
    const end = '2027-11-23T12:00:00Z';
    frozen.edit('fleet', (spec) => ({ ...spec, freezes: [{ start: '2026-01-01T00:00:00Z', end, reason: 'audit' }] }));
    const paused = done('UpdateOnJoin');
    paused.edit('fleet', (spec) => ({ ...spec, rollout: { ...spec.rollout, paused: true } }));
    const spent = done('UpdateOnJoin');
    const [away] = spent.nodes.values();
    assert.ok(away);
    away.cordoned = true;
    for (const world of [frozen, paused, spent]) {
      world.addNode('node-9');
      run(world);
      assert.equal(bootedOf(world, 'node-9'), manifestOf('v1'));
    }
  });

  it('that comes while a rollout is under way is an outdated node like any other', () => {
    const world = done('UpdateOnJoin');
    world.tags.set('registry.example/os:v3', 'v3');
    world.edit('fleet', (spec) => ({ ...spec, image: { ...spec.image, reference: 'registry.example/os:v3' } }));
    run(world, 3);
    world.addNode('node-9');
    run(world);
    assert.equal(bootedOf(world, 'node-9'), manifestOf('v1'));
  });

  it('is an outdated node like any other when another image is named before it is done', () => {
    const world = done('UpdateOnJoin');
    world.addNode('node-9');
    run(world, 3);
    assert.equal(world.nodeOSes.get('node-9')?.status?.rollout?.joining, true);
    world.tags.set('registry.example/os:v3', 'v3');
    world.edit('fleet', (spec) => ({ ...spec, image: { ...spec.image, reference: 'registry.example/os:v3' } }));
    run(world);
    assert.equal(bootedOf(world, 'node-9'), manifestOf('v1'));
    assert.equal(world.nodeOSes.get('node-9')?.status?.rollout?.joining, undefined);
  });

  it('carries the gate from when it is seen until it is done, with Gate', () => {
    const world = done('Gate');
    const node = world.addNode('node-9');
    world.act(keepsItsPromises);
    assert.equal(node.gated, true, 'in the very plan that sees it');
    let gatedUntilDone = true;
    for (let round = 0; round < 60; round++) {
      world.act(keepsItsPromises);
      world.advance(5);
      if (node.machine.booted === manifestOf('v1') && !node.gated) gatedUntilDone = false;
    }
    assert.ok(gatedUntilDone);
    assert.equal(node.machine.booted, manifestOf('v2'));
    assert.equal(node.gated, false);
    assert.ok([...world.nodes.values()].every(({ gated }) => !gated));
  });

  it('loses the gate that its kubelet registered with, when it is done or nobody gates any more', () => {
    const world = done('Gate');
    const node = world.addNode('node-9', {}, 'amd64', 'v2');
    node.gated = true;
    run(world, 10);
    assert.equal(node.gated, false, 'it joined on the target');
    const other = done('Wait');
    const outdated = other.addNode('node-9');
    outdated.gated = true;
    run(other, 10);
    assert.equal(outdated.gated, false, 'nodes that wait for a window are not kept empty until then');
  });

  it('does not gate nodes that were there before', () => {
    const world = new World(3);
    world.addImage({ name: 'fleet', policy: { newNodes: 'Gate' } });
    for (const name of ['node-0', 'node-1']) world.addNode(name);
    for (let round = 0; round < 80; round++) {
      world.act(keepsItsPromises);
      assert.ok([...world.nodes.values()].every(({ gated }) => !gated));
      world.advance(5);
    }
  });
});
