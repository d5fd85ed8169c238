/** A node that nobody could reach for a while, and what it still holds when it is back. */
import assert from 'node:assert/strict';
import { agentTurn } from './agent-stand-in.ts';
import { digestOf, manifestOf } from './fixtures.ts';
import { keepsItsPromises, unfinished } from './promises.ts';
import { World } from './world.ts';

/** A node whose boot is approved, and whose agent has seen that and nothing since. */
function cutOff(): World {
  const world = new World(5);
  world.addImage({ name: 'fleet' });
  world.addNode('a');
  const order = () => world.nodeOSes.get('a')?.spec.order;
  for (let round = 0; round < 200 && order()?.goal !== 'Boot'; round++) {
    world.act(keepsItsPromises);
    if (order()?.goal !== 'Boot') world.advance(5);
  }
  const os = world.nodeOSes.get('a');
  assert.ok(os?.spec.order?.bootApproval);
  const node = world.nodes.get('a');
  assert.ok(node);
  node.machine.view = os;
  node.ready = false;
  world.impostors.set('a', () => undefined);
  return world;
}

/** The agent wakes, and takes its first turn on what it had seen. */
function heal(world: World): void {
  const node = world.nodes.get('a');
  assert.ok(node);
  world.impostors.delete('a');
  node.ready = true;
  world.rates = { ...world.rates, staleAgent: 1 };
  agentTurn(world, node);
  assert.equal(node.machine.back, undefined, 'it does not go down');
  world.rates = { ...world.rates, staleAgent: 0 };
}

function pass(world: World, seconds: number): void {
  for (let second = 0; second < seconds; second += 60) {
    world.act(keepsItsPromises);
    world.advance(60);
  }
}

describe('A node that was cut off after its boot was approved', () => {
  it('refuses that approval when it heals hours later, whatever it has seen, and is asked again', () => {
    const world = cutOff();
    pass(world, 4 * 3600);
    assert.equal(world.nodes.get('a')?.machine.booted, manifestOf('v1'));
    heal(world);
    world.settle(keepsItsPromises);
    assert.deepEqual(unfinished(world), []);
    assert.deepEqual(world.broken, []);
  });

  it('never boots what was the target then, when another image was named meanwhile', () => {
    const world = cutOff();
    world.tags.set('registry.example/os:v3', 'v3');
    world.edit('fleet', (spec) => ({ ...spec, image: { ...spec.image, reference: 'registry.example/os:v3' } }));
    pass(world, 4 * 3600);
    assert.notEqual(world.nodeOSes.get('a')?.spec.order?.goal, 'Boot', 'the approval is taken back');
    heal(world);
    const seen = new Set<string>();
    world.settle((snapshot, made, here) => {
      keepsItsPromises(snapshot, made, here);
      seen.add(here.nodes.get('a')?.machine.booted ?? '');
    });
    assert.deepEqual([...seen], [manifestOf('v1'), manifestOf('v3')]);
    assert.equal(world.images.get('fleet')?.status?.current?.digest, digestOf('v3'));
    assert.deepEqual(world.broken, []);
  });
});
