import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import type { OSImageStatus } from '../../../api/index.ts';
import { failureThreshold } from '../../../operator/rollout/failure-threshold.ts';
import { ARCHITECTURES, digestOf, imageOf, manifestOf } from './fixtures.ts';
import { keepsItsPromises, unfinished } from './promises.ts';
import { NO_FAULTS } from './rates.ts';
import { World } from './world.ts';

interface Fleet {
  readonly seed?: number;
  readonly nodes?: number;
  readonly rollout?: Record<string, unknown>;
}

/** A fleet that runs v2 throughout, which it was brought to. */
function onV2({ seed = 1, nodes = 10, rollout = { onFailure: 'RollBack' } }: Fleet = {}): World {
  const world = new World(seed);
  world.addImage({ name: 'fleet', maxUnavailable: 1, rollout });
  for (let index = 0; index < nodes; index++) world.addNode(`node-${index}`);
  world.settle(keepsItsPromises);
  assert.deepEqual(unfinished(world), []);
  return world;
}

function rollOut(world: World, version: string, reference = `registry.example/os:${version}`): void {
  world.tags.set(reference, version);
  world.edit('fleet', (spec) => ({ ...spec, image: { ...spec.image, reference } }));
}

function breakImage(world: World, version: string): void {
  for (const architecture of ARCHITECTURES) world.fatalDigests.add(manifestOf(version, architecture));
}

function statusOf(world: World): OSImageStatus {
  return world.images.get('fleet')?.status ?? assert.fail('the OSImage has no status');
}

function conditionOf(world: World, type: string): string {
  const condition = statusOf(world).conditions?.find((one) => one.type === type);
  return `${condition?.status} ${condition?.reason}`;
}

function versionsOf(world: World): readonly (string | undefined)[] {
  return [...new Set([...world.nodes.values()].map(({ machine }) => machine.booted))].map((digest) =>
    ['v1', 'v2', 'v3', 'v4'].find((version) => manifestOf(version) === digest),
  );
}

function blockersOf(world: World): readonly string[] {
  return (statusOf(world).blockers ?? []).map(({ type }) => type);
}

/** How many nodes have ever been sent into a boot of the version. */
function ordersOf(world: World, act: () => void): Set<string> {
  const sent = new Set<string>();
  const bootOf = (digest: string | undefined) => (digest === manifestOf('v3') ? 'v3' : undefined);
  const original = world.execute.bind(world);
  world.execute = (action) => {
    const booted = action.kind === 'WriteOrder' && action.spec.order?.goal === 'Boot';
    if (booted && bootOf(action.spec.order?.digest) !== undefined) sent.add(action.name);
    return original(action);
  };
  act();
  return sent;
}

describe('A failure threshold', () => {
  it('is a tenth of the nodes and at most ten by default; a percentage rounds down but to 1 at least', () => {
    const table: readonly (readonly [number | string | undefined, number, number])[] = [
      [undefined, 3, 1],
      [undefined, 20, 2],
      [undefined, 5000, 10],
      ['10%', 5000, 500],
      ['50%', 1, 1],
      [4, 3, 4],
    ];
    for (const [threshold, nodes, expected] of table) {
      const rollout = threshold === undefined ? {} : { failureThreshold: threshold };
      assert.equal(failureThreshold(imageOf({ rollout }).object, nodes), expected, `${threshold} of ${nodes}`);
    }
  });

  it('lets a rollout go on with the other nodes until it is reached, and says which failed and how', () => {
    const world = onV2({ rollout: { failureThreshold: 3 } });
    breakImage(world, 'v3');
    rollOut(world, 'v3');
    const sent = ordersOf(world, () => world.settle(keepsItsPromises, 1500));
    assert.equal(sent.size, 3);
    assert.equal(conditionOf(world, 'Stalled'), 'True RolloutHalted');
    const halted = statusOf(world).blockers?.find(({ type }) => type === 'RolloutHalted')?.message ?? '';
    assert.match(halted, /^3 nodes have failed \(RolledBack: node-\d, node-\d, node-\d\)/);
    assert.equal(statusOf(world).quarantinedDigests, undefined, 'Halt quarantines nothing');
  });

  it('that is not reached leaves only the failed node behind', () => {
    const world = onV2({ rollout: { failureThreshold: 2 } });
    rollOut(world, 'v3');
    const [first] = world.nodes.values();
    assert.ok(first);
    const original = world.chance.bind(world);
    world.rates = { ...NO_FAULTS, rollsBack: 1 };
    // Only the first host that boots falls back.
    let fallen = 0;
    world.chance = (rate) => (rate === 1 ? fallen++ === 0 : original(rate));
    world.settle(keepsItsPromises, 1500);
    assert.equal(statusOf(world).nodes?.updatedOfTotal, '9/10');
    assert.equal(statusOf(world).nodes?.failed, 1);
    assert.equal(conditionOf(world, 'Degraded'), 'True NodesFailed');
    assert.ok(!blockersOf(world).includes('RolloutHalted'));
  });

  it('reached halts, and another image sets every node going again', () => {
    const world = onV2({ rollout: {} });
    breakImage(world, 'v3');
    rollOut(world, 'v3');
    world.settle(keepsItsPromises, 1500);
    assert.equal(conditionOf(world, 'Ready'), 'False RolloutHalted');
    rollOut(world, 'v4');
    world.settle(keepsItsPromises, 1500);
    assert.equal(conditionOf(world, 'Ready'), 'True AllNodesUpdated');
    assert.deepEqual(versionsOf(world), ['v4']);
  });
});

describe('A fleet that rolls itself back', () => {
  it('loses at most the first wave to a bad image, and is on the old one again without anybody', () => {
    const world = onV2();
    breakImage(world, 'v3');
    rollOut(world, 'v3');
    const sent = ordersOf(world, () => world.settle(keepsItsPromises, 1500));
    assert.equal(sent.size, 1);
    assert.deepEqual(versionsOf(world), ['v2']);
    assert.deepEqual(unfinished(world), []);
    const [entry, ...others] = statusOf(world).quarantinedDigests ?? [];
    assert.deepEqual(others, []);
    assert.equal(entry?.digest, digestOf('v3'));
    assert.equal(entry.reason, 'RolledBack');
    assert.equal(entry.failures, 1);
    assert.equal(conditionOf(world, 'Ready'), 'False RolledBack');
    assert.equal(conditionOf(world, 'Stalled'), 'True DigestQuarantined');
    assert.equal(conditionOf(world, 'RollingBack'), 'False RolledBack');
    assert.deepEqual(blockersOf(world), ['DigestQuarantined']);
    assert.ok(world.events.includes('fleet DigestQuarantined'));
  });

  it('takes nodes that were updated already back one after the other, and says so meanwhile', () => {
    const world = onV2({ nodes: 5, rollout: { onFailure: 'RollBack', failureThreshold: 1 } });
    rollOut(world, 'v3');
    let rounds = 0;
    while ((statusOf(world).nodes?.updated ?? 5) < 3 || statusOf(world).target?.version !== 'v3') {
      assert.ok(rounds++ < 500);
      world.act(keepsItsPromises);
      world.advance(5);
    }
    breakImage(world, 'v3');
    const seen = new Set<string>();
    for (let round = 0; round < 500; round++) {
      world.act(keepsItsPromises);
      world.advance(5);
      seen.add(conditionOf(world, 'RollingBack'));
    }
    assert.ok(seen.has('True DigestQuarantined'), [...seen].join());
    assert.deepEqual(versionsOf(world), ['v2']);
    assert.deepEqual(unfinished(world), []);
  });

  it('stays there after a restart of the operator, while the registry is away, and when the tag still means the bad image', () => {
    const world = onV2();
    breakImage(world, 'v3');
    rollOut(world, 'v3');
    world.settle(keepsItsPromises, 1500);
    const before = statusOf(world);
    world.registryDown = true;
    world.settle(keepsItsPromises);
    assert.equal(statusOf(world).target?.version, 'v2');
    world.registryDown = false;
    world.settle(keepsItsPromises);
    assert.deepEqual(statusOf(world).target, before.target);
    assert.deepEqual(versionsOf(world), ['v2']);
  });

  it('does not go back to what fails too: it halts, and says why', () => {
    const world = onV2();
    rollOut(world, 'v3');
    world.settle(keepsItsPromises, 1500);
    breakImage(world, 'v4');
    breakImage(world, 'v3');
    const [node] = world.nodes.values();
    assert.ok(node);
    node.machine.booted = manifestOf('v1');
    rollOut(world, 'v4');
    world.settle(keepsItsPromises, 1500);
    assert.equal(statusOf(world).target?.version, 'v3');
    assert.equal(conditionOf(world, 'Ready'), 'False RolloutHalted');
    const halted = statusOf(world).blockers?.find(({ type }) => type === 'RolloutHalted')?.message ?? '';
    assert.match(halted, /this is the release that it would go back to/);
    assert.deepEqual(
      statusOf(world).quarantinedDigests?.map(({ version }) => version),
      ['v4'],
    );
  });

  it('halts and says why when no release was ever rolled out to all nodes', () => {
    const world = new World(1);
    world.addImage({ name: 'fleet', rollout: { onFailure: 'RollBack' } });
    for (const name of ['a', 'b', 'c']) world.addNode(name);
    breakImage(world, 'v2');
    world.settle(keepsItsPromises, 1500);
    const halted = statusOf(world).blockers?.find(({ type }) => type === 'RolloutHalted')?.message ?? '';
    assert.match(halted, /no release has ever been rolled out to all nodes/);
    assert.equal(statusOf(world).quarantinedDigests, undefined);
  });

  it('does not hold the registry against the image', () => {
    const world = onV2({ nodes: 2 });
    world.rates = { ...NO_FAULTS, stageFails: 1 };
    rollOut(world, 'v3');
    for (let round = 0; round < 200; round++) {
      world.act(keepsItsPromises);
      world.advance(10);
    }
    assert.equal(statusOf(world).quarantinedDigests, undefined);
    assert.equal(statusOf(world).target?.version, 'v3');
    const halted = statusOf(world).blockers?.find(({ type }) => type === 'RolloutHalted')?.message ?? '';
    assert.match(halted, /Too few of them speak against the image/);
  });

  it('does not follow a Manual tag that moves on meanwhile, and takes an Automatic one', () => {
    for (const [updatePolicy, expected] of [
      ['Manual', 'v2'],
      ['Automatic', 'v4'],
    ] as const) {
      const world = onV2();
      world.edit('fleet', (spec) => ({ ...spec, image: { ...spec.image, updatePolicy } }));
      breakImage(world, 'v3');
      rollOut(world, 'v3', 'registry.example/os:next');
      world.settle(keepsItsPromises, 1500);
      assert.equal(statusOf(world).target?.version, 'v2');
      world.tags.set('registry.example/os:next', 'v4');
      world.settle(keepsItsPromises, 1500);
      assert.deepEqual(versionsOf(world), [expected], updatePolicy);
      assert.equal(statusOf(world).available?.version, expected === 'v2' ? 'v4' : undefined);
    }
  });

  it('follows the next image that its spec names, and never the bad one under another name', () => {
    const world = onV2();
    breakImage(world, 'v3');
    rollOut(world, 'v3');
    world.settle(keepsItsPromises, 1500);
    rollOut(world, 'v3', 'registry.example/os:again');
    world.settle(keepsItsPromises, 1500);
    assert.equal(statusOf(world).target?.version, 'v2');
    assert.equal(conditionOf(world, 'Ready'), 'False RolledBack');
    rollOut(world, 'v4');
    world.settle(keepsItsPromises, 1500);
    assert.deepEqual(versionsOf(world), ['v4']);
    assert.equal(conditionOf(world, 'Ready'), 'True AllNodesUpdated');
  });

  it('tries a digest again once, when it is taken out of quarantine, and quarantines it again if it still fails', () => {
    const world = onV2();
    breakImage(world, 'v3');
    rollOut(world, 'v3');
    world.settle(keepsItsPromises, 1500);
    const release = (releaseQuarantine: string) =>
      world.edit('fleet', (spec) => ({ ...spec, rollout: { ...spec.rollout, releaseQuarantine } }));
    release(digestOf('v3'));
    const sent = ordersOf(world, () => world.settle(keepsItsPromises, 1500));
    assert.equal(sent.size, 1);
    assert.equal(statusOf(world).target?.version, 'v2');
    assert.equal(statusOf(world).quarantinedDigests?.length, 1);
    world.edit('fleet', ({ rollout, ...spec }) => {
      const { releaseQuarantine: _, ...rest } = rollout;
      return { ...spec, rollout: rest };
    });
    world.settle(keepsItsPromises);
    world.fatalDigests.clear();
    release(digestOf('v3'));
    world.settle(keepsItsPromises, 1500);
    assert.deepEqual(versionsOf(world), ['v3']);
    assert.equal(statusOf(world).quarantinedDigests, undefined);
    assert.equal(conditionOf(world, 'Ready'), 'True AllNodesUpdated');
  });

  it('quarantines an image whose nodes do not return in time', () => {
    const world = onV2({ nodes: 3, rollout: { onFailure: 'RollBack' } });
    world.edit('fleet', (spec) => ({ ...spec, rollout: { ...spec.rollout, maxUnavailable: 2 } }));
    world.rates = { ...NO_FAULTS, slowBoot: 1 };
    rollOut(world, 'v3');
    let rounds = 0;
    while (statusOf(world).quarantinedDigests === undefined) {
      assert.ok(rounds++ < 2000, 'never quarantined');
      world.act(keepsItsPromises);
      world.advance(5);
    }
    assert.equal(statusOf(world).quarantinedDigests?.[0]?.reason, 'RebootOverdue');
    world.rates = NO_FAULTS;
    world.settle(keepsItsPromises, 1500);
    assert.deepEqual(versionsOf(world), ['v2']);
    assert.deepEqual(unfinished(world), []);
  });

  it('ends on the old image whatever else fails meanwhile, and orders the bad one no more', () => {
    const rate = fc.oneof(fc.constant(0), fc.double({ min: 0, max: 0.3, noNaN: true }));
    const faults = fc.record({ crash: rate, lostAction: rate, interleaving: rate, agentAway: rate, staleAgent: rate });
    const seed = fc.integer({ min: 0, max: 2 ** 31 });
    fc.assert(
      fc.property(
        seed,
        faults,
        fc.integer({ min: 2, max: 6 }),
        fc.constantFrom(1, 2, '50%'),
        (from, some, nodes, max) => {
          const world = onV2({ seed: from, nodes, rollout: { onFailure: 'RollBack', maxUnavailable: max } });
          breakImage(world, 'v3');
          world.rates = { ...NO_FAULTS, ...some };
          rollOut(world, 'v3');
          for (let round = 0; round < 150; round++) {
            world.act(keepsItsPromises);
            world.advance(10);
          }
          world.rates = NO_FAULTS;
          world.settle(keepsItsPromises, 1500);
          assert.deepEqual(versionsOf(world), ['v2']);
          assert.deepEqual(unfinished(world), []);
          assert.equal(conditionOf(world, 'Ready'), 'False RolledBack');
        },
      ),
      { numRuns: 30 },
    );
  });
});

describe('A node that does not stay on its image', () => {
  /** Its host falls back to v1, as one that counts boots does when the new image crashes. */
  function fallBack(world: World, name: string): void {
    const { machine } = world.nodes.get(name) ?? assert.fail(`there is no node ${name}`);
    machine.bootID = world.unique('boot');
    machine.booted = manifestOf('v1');
  }
  const restOf = (world: World, name: string) => world.nodeOSes.get(name)?.status?.rollout?.restUntil;

  it('rests from the second time on, longer each time, before its next slot, and is given up after some, with the others done', () => {
    const world = onV2({ nodes: 3, rollout: { failureThreshold: 2 } });
    const rests: number[] = [];
    let boots = 0;
    for (let fall = 0; fall < 20; fall++) {
      if (world.nodeOSes.get('node-0')?.status?.rollout?.phase !== 'Updated') break;
      fallBack(world, 'node-0');
      const fallen = world.time;
      let rounds = 0;
      while (restOf(world, 'node-0') === undefined && rounds++ < 20) {
        world.act(keepsItsPromises);
        world.advance(5);
      }
      const until = restOf(world, 'node-0');
      if (until === undefined && fall > 0) break;
      rests.push(until === undefined ? 0 : Math.round((Date.parse(until) - fallen) / 60_000));
      world.settle(keepsItsPromises, 1500);
      boots += 1;
    }
    assert.deepEqual(rests, [0, 5, 10, 20, 40]);
    assert.equal(boots, 5);
    world.settle(keepsItsPromises);
    assert.equal(world.nodeOSes.get('node-0')?.status?.rollout?.phase, 'Failed');
    assert.ok(blockersOf(world).includes('RolledBack'));
    rollOut(world, 'v3');
    world.settle(keepsItsPromises, 1500);
    assert.deepEqual(versionsOf(world), ['v3'], 'another image starts it over');
  });

  it('lets the others go first while it rests, and says until when', () => {
    const world = onV2({ nodes: 3, rollout: {} });
    fallBack(world, 'node-0');
    world.settle(keepsItsPromises, 1500);
    fallBack(world, 'node-0');
    for (let round = 0; round < 20; round++) {
      world.act(keepsItsPromises);
      world.advance(5);
    }
    const resting = statusOf(world).blockers?.find(({ type }) => type === 'NodeResting');
    assert.equal(resting?.node, 'node-0');
    assert.match(resting.message, new RegExp(`gets no slot before ${restOf(world, 'node-0')}`));
    fallBack(world, 'node-1');
    world.settle(keepsItsPromises, 1500);
    assert.deepEqual(versionsOf(world), ['v2']);
  });
});

describe('A pause', () => {
  it('is on while anybody asks for it, names each who does, and ends with the last', () => {
    const world = onV2({ nodes: 3 });
    const ask = (...names: string[]) =>
      world.edit('fleet', (spec) => ({
        ...spec,
        rollout: { ...spec.rollout, pauseRequests: names.map((name) => ({ name, reason: `for ${name}` })) },
      }));
    ask('storage', 'release');
    rollOut(world, 'v3');
    world.settle(keepsItsPromises);
    assert.deepEqual(versionsOf(world), ['v2']);
    assert.equal(conditionOf(world, 'Paused'), 'True Paused');
    assert.match(
      statusOf(world).blockers?.[0]?.message ?? '',
      /storage asks for it in spec.rollout.pauseRequests \(for storage\); release asks/,
    );
    ask('release');
    world.settle(keepsItsPromises);
    assert.deepEqual(versionsOf(world), ['v2']);
    ask();
    world.settle(keepsItsPromises);
    assert.deepEqual(versionsOf(world), ['v3']);
  });
});
