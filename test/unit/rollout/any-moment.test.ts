/** Whatever happens to a node or to its OSImage in whatever phase: nothing of ours is left behind, and a correct spec goes on. */
import assert from 'node:assert/strict';
import { EXCLUDE_LABEL } from '../../../api/index.ts';
import { explainNode } from '../../../operator/rollout/explain.ts';
import type { Phase } from '../../../api/index.ts';
import { unplannedReboot } from './agent-stand-in.ts';
import { heldByUs } from './lease-stand-in.ts';
import { keepsItsPromises, unfinished } from './promises.ts';
import { NO_FAULTS } from './rates.ts';
import { World } from './world.ts';
import type { WorldNode } from './world-node.ts';

const LABELS = { pool: 'fleet' };
const NODE = 'node-0';

/** How a world is made in which the node comes into the phase by itself. */
const PHASES: readonly (readonly [string, Phase, (world: World) => void])[] = [
  ['Pending', 'Pending', (world) => (world.rates = { ...NO_FAULTS, agentAway: 1 })],
  ['Staging', 'Staging', () => undefined],
  ['Failed at staging', 'Failed', (world) => (world.rates = { ...NO_FAULTS, stageFails: 1 })],
  ['AwaitingSlot', 'AwaitingSlot', () => undefined],
  ['Draining', 'Draining', () => undefined],
  ['Blocked', 'Blocked', (world) => (world.rates = { ...NO_FAULTS, refusal: 0.8 })],
  ['Rebooting', 'Rebooting', () => undefined],
  ['Failed by its deadline', 'Failed', (world) => (world.rates = { ...NO_FAULTS, slowBoot: 1 })],
  ['Failed by falling back', 'Failed', (world) => (world.rates = { ...NO_FAULTS, rollsBack: 1 })],
  ['AwaitingGate', 'AwaitingGate', (world) => withGate(world, 'BeforeReboot')],
  ['passed over for its gate', 'Blocked', (world) => withGate(world, 'BeforeReboot', 'Skip')],
  ['Verifying', 'Verifying', () => undefined],
  ['waiting for a gate in Verifying', 'Verifying', (world) => withGate(world, 'AfterReboot')],
  ['Failed by a gate', 'Failed', (world) => withGate(world, 'AfterReboot', 'Fail')],
  ['waiting for a check in Verifying', 'Verifying', (world) => withCheck(world, 0)],
  ['Failed by a check', 'Failed', (world) => withCheck(world, 20)],
  ['Soaking', 'Soaking', () => undefined],
  ['Updated', 'Updated', () => undefined],
];

/** The hook behind the gate does not answer, for either of the two nodes. */
function withGate(world: World, when: 'BeforeReboot' | 'AfterReboot', timeoutAction?: 'Skip' | 'Fail'): void {
  const timeout = timeoutAction && { timeoutSeconds: 20, timeoutAction };
  const gates = [{ conditionType: 'example.com/Checked', when, status: 'True' as const, ...timeout }];
  world.edit('fleet', (spec) => ({
    ...spec,
    health: { ...spec.health, gates },
    rollout: { ...spec.rollout, maxUnavailable: 2 },
  }));
  world.rates = { ...NO_FAULTS, hookAway: 1 };
}

/** What a check reads is not so, but can be read. */
function withCheck(world: World, timeoutSeconds: number): void {
  const object = { apiVersion: 'apps/v1', kind: 'Deployment', namespace: 'shop', name: 'store' };
  const check = { name: 'store', when: ['AfterNode' as const], object, expression: 'object.ok', timeoutSeconds };
  world.edit('fleet', (spec) => ({
    ...spec,
    health: { ...spec.health, checks: [check] },
    rollout: { ...spec.rollout, maxUnavailable: 2 },
  }));
  world.checkedFrom = (node) => (node === undefined ? 'Readable' : 'False');
}

type Event = (world: World, node: WorldNode) => (() => void) | void;

const rollout = (world: World, change: object) =>
  world.edit('fleet', (spec) => ({ ...spec, rollout: { ...spec.rollout, ...change } }));

const rollOut = (world: World, version: string) => {
  const reference = `registry.example/os:${version}`;
  world.tags.set(reference, version);
  world.edit('fleet', (spec) => ({ ...spec, image: { ...spec.image, reference, downgradePolicy: 'Allow' } }));
};

/** What happens, and what ends it later, where it does not end by itself. */
const EVENTS: readonly (readonly [string, Event])[] = [
  ['its Node is deleted', (world) => void world.nodes.delete(NODE)],
  [
    'its Node is made anew under the same name',
    (world, node) => {
      world.nodes.delete(NODE);
      world.addNode(NODE, { ...node.labels });
    },
  ],
  [
    'its Node is renamed',
    (world, node) => {
      world.nodes.delete(NODE);
      world.addNode('node-renamed', { ...node.labels });
    },
  ],
  [
    'somebody cordons it',
    (_, node) => {
      if (node.cordonedBy !== undefined) return undefined;
      node.cordoned = true;
      return () => (node.cordoned = false);
    },
  ],
  ['somebody uncordons it', (_, node) => void (node.cordoned = false)],
  [
    'it is NotReady for half an hour',
    (world, node) => {
      node.ready = false;
      node.brokenUntil = world.time + 1_800_000;
    },
  ],
  ['its power is cut', (world, node) => unplannedReboot(world, node)],
  ['another node joins', (world) => void world.addNode('node-9', LABELS)],
  [
    'it is excluded',
    (_, node) => {
      node.labels[EXCLUDE_LABEL] = '';
      return () => delete node.labels[EXCLUDE_LABEL];
    },
  ],
  [
    'its label is taken off',
    (_, node) => {
      delete node.labels['pool'];
      return () => (node.labels['pool'] = 'fleet');
    },
  ],
  [
    'a second OSImage selects it too',
    (world) => {
      world.addImage({ name: 'other', version: 'v3', selector: { matchLabels: LABELS } });
      return () => world.images.delete('other');
    },
  ],
  ['another image is named', (world) => rollOut(world, 'v3')],
  [
    'another image is named, and the first one again',
    (world) => {
      rollOut(world, 'v3');
      return () => rollOut(world, 'v2');
    },
  ],
  [
    'the rollout is paused',
    (world) => {
      rollout(world, { paused: true });
      return () => rollout(world, { paused: false });
    },
  ],
  [
    'the budget is set to zero',
    (world) => {
      rollout(world, { maxUnavailable: 0 });
      return () => rollout(world, { maxUnavailable: 1 });
    },
  ],
  ['a failure is to roll the fleet back', (world) => rollout(world, { onFailure: 'RollBack' })],
  [
    'the OSImage is deleted, and made anew',
    (world) => {
      world.images.delete('fleet');
      return () => world.addImage({ name: 'fleet', selector: { matchLabels: LABELS } });
    },
  ],
  [
    'somebody else takes the node, by force',
    (world) => {
      const lease = { holder: 'kured', renewed: world.time, seconds: 86_400, resourceVersion: world.unique('rv') };
      world.leases?.set(NODE, lease);
      return () => world.leases?.delete(NODE);
    },
  ],
  [
    'somebody says that they drain it',
    (_, node) => {
      node.conditions['DrainInProgress'] = { status: 'True', reason: 'KubectlDrainStarted' };
      return () => void delete node.conditions['DrainInProgress'];
    },
  ],
  [
    'the registry goes away',
    (world) => {
      world.registryDown = true;
      return () => (world.registryDown = false);
    },
  ],
];

/** A fleet of two with the node in the phase. */
function worldIn(phase: Phase, prepare: (world: World) => void): World {
  const world = new World(7);
  world.leases = new Map();
  world.lifecycle = true;
  const policy = { drain: { timeoutSeconds: 15, timeoutAction: 'Skip' }, health: { minReadySeconds: 30 } };
  const rollout = { failureThreshold: 2 };
  world.addImage({ name: 'fleet', selector: { matchLabels: LABELS }, rollout, policy });
  for (const name of [NODE, 'node-1']) world.addNode(name, LABELS);
  prepare(world);
  for (let round = 0; round < 3000; round++) {
    if (world.nodeOSes.get(NODE)?.status?.rollout?.phase === phase) return world;
    world.act(keepsItsPromises);
    world.advance(phase === 'Failed' ? 20 : 2);
  }
  return assert.fail(`the node never is ${phase}`);
}

function run(world: World, rounds: number): void {
  for (let round = 0; round < rounds; round++) {
    world.act(keepsItsPromises);
    world.advance(5);
  }
}

/** Slots and cordons without a reason, in words. */
function leftBehind(world: World): readonly string[] {
  return [...world.nodes.values()].flatMap(({ name, cordonedBy, marked }) => {
    const os = world.nodeOSes.get(name);
    return [
      ...(cordonedBy === undefined ? [] : [`${name} is cordoned by us`]),
      ...(marked ? [`${name} wears our marks`] : []),
      ...(heldByUs(world).includes(name) ? [`${name} is held by our lease`] : []),
      ...(os?.status?.rollout?.slotTime === undefined ? [] : [`${name} holds a slot`]),
    ];
  });
}

for (const [moment, phase, prepare] of PHASES) {
  describe(`A node that is ${moment}`, () => {
    it('is explained in sentences: where it is, who is to act, and what holds it back', () => {
      const world = worldIn(phase, prepare);
      const explained = explainNode(world.snapshot(), NODE, world.now) ?? assert.fail();
      assert.equal(explained.phase, phase);
      assert.match(explained.message, /^.{10,}\.$/s);
      assert.equal(explained.updated, phase === 'Updated');
      for (const { type, message } of explained.blockers) assert.match(message, /^.{10,}\.$/s, type);
      // Whoever is asked for help is told what with.
      if (explained.actor === 'Person') assert.notDeepEqual(explained.blockers, []);
    });
    for (const [what, happen] of EVENTS) {
      it(`goes on when ${what}`, () => {
        const world = worldIn(phase, prepare);
        const node = world.nodes.get(NODE) ?? assert.fail();
        const undo = happen(world, node);
        run(world, 20);
        world.rates = NO_FAULTS;
        delete world.checkedFrom;
        run(world, 20);
        undo?.();
        world.settle(keepsItsPromises, 1500);
        const names = new Set(world.nodes.keys());
        assert.deepEqual(
          [...world.nodeOSes.keys()].filter((name) => !names.has(name)),
          [],
          'a NodeOS outlives its Node',
        );
        const status = world.images.get('fleet')?.status;
        const said = (status?.blockers ?? []).map(({ type }) => type);
        const excused = said.some((type) => ['RolledBack', 'BootRefused', 'RolloutHalted'].includes(type));
        if (!excused) assert.deepEqual(unfinished(world), [], said.join());
        assert.deepEqual(leftBehind(world), []);
        rollOut(world, 'v4');
        world.settle(keepsItsPromises, 1500);
        assert.deepEqual(unfinished(world), [], 'a correct spec does not leave it');
      });
    }
  });
}

describe('A fleet whose OSImage is deleted', () => {
  for (const [moment, phase, prepare] of PHASES) {
    it(`with a node ${moment} is left as it is, with nothing of ours on it`, () => {
      const world = worldIn(phase, prepare);
      world.images.delete('fleet');
      run(world, 30);
      world.rates = NO_FAULTS;
      delete world.checkedFrom;
      world.settle(keepsItsPromises, 1500);
      assert.deepEqual([...world.nodeOSes.keys()], []);
      assert.deepEqual(leftBehind(world), []);
    });
  }
});
