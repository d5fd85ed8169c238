import assert from 'node:assert/strict';
import { CORDONED_BY_ANNOTATION, MARKS_ANNOTATION, OUTDATED_TAINT } from '../../../api/index.ts';
import type { NodeOS, OSImage } from '../../../api/index.ts';
import { recordedSnapshot } from '../../../operator/recorded-snapshot.ts';
import { explainImage, explainNode } from '../../../operator/rollout/explain.ts';
import { stageOrder } from '../../../operator/rollout/order.ts';
import { plan } from '../../../operator/rollout/plan.ts';
import type { NodeSnapshot, Snapshot } from '../../../operator/rollout/snapshot.ts';
import { CALENDARS, calendarOf } from './calendars.ts';
import { isLook } from './drain-stand-in.ts';
import { NOW, imageOf, manifestOf, nodeOSOf, nodeOf } from './fixtures.ts';
import { somethingHappens } from './people.ts';
import { NO_FAULTS } from './rates.ts';
import { World } from './world.ts';

/** A Node as the API serves it, with what the planner looks at. */
function rawNode(node: NodeSnapshot): object {
  const annotations = {
    ...(node.cordonedBy !== undefined && { [CORDONED_BY_ANNOTATION]: node.cordonedBy }),
    ...(node.marked && { [MARKS_ANNOTATION]: 'x' }),
  };
  return {
    metadata: { name: node.name, uid: node.uid, resourceVersion: '1', labels: node.labels, annotations },
    spec: {
      ...(node.cordoned && { unschedulable: true }),
      ...(node.outdated && { taints: [{ key: OUTDATED_TAINT, effect: 'PreferNoSchedule' }] }),
    },
    status: {
      nodeInfo: { architecture: node.architecture, ...(node.bootID !== undefined && { bootID: node.bootID }) },
      conditions: [
        { type: 'Ready', status: node.ready ? 'True' : 'False' },
        ...Object.entries(node.conditions ?? {}).map(([type, { status, time }]) => ({
          type,
          status,
          ...(time !== undefined && { lastTransitionTime: time }),
        })),
      ],
    },
  };
}

/** What can be read from the API of a world that shows `snapshot`. */
function recorded({ images, nodes, nodeOSes }: Pick<Snapshot, 'images' | 'nodes' | 'nodeOSes'>): Snapshot {
  return recordedSnapshot({ images: images.map(({ object }) => object), nodes: nodes.map(rawNode), nodeOSes });
}

/** Plays the planner's writes back until there are none, and returns what can then be read. */
function written(image: OSImage, nodes: readonly NodeSnapshot[], nodeOSes: readonly NodeOS[]): Snapshot {
  const resolved = imageOf();
  const given = { ...resolved, object: image };
  const snapshot = {
    images: [given],
    nodes,
    nodeOSes,
    drains: new Map(),
    dryRuns: new Map(),
    checks: new Map(),
    alerts: new Map(),
  };
  const write = plan(snapshot, NOW).actions.find((action) => action.kind === 'WriteImageStatus');
  const object = write === undefined ? image : { ...image, status: write.status };
  return recorded({ images: [{ ...given, object }], nodes, nodeOSes });
}

const TARGET = {
  digest: manifestOf('v2'),
  image: `ostree-unverified-registry:registry.example/os@${manifestOf('v2')}`,
};
const STAGE = stageOrder(TARGET, 0, 'boot-1');
const waiting = (name: string) => nodeOSOf(name, { staged: 'v2', order: STAGE, rollout: { phase: 'AwaitingSlot' } });
const holding = (name: string) =>
  nodeOSOf(name, { staged: 'v2', order: STAGE, rollout: { phase: 'Draining', slotTime: '2026-11-23T11:58:00Z' } });

describe('An explanation', () => {
  it('says in a cluster at rest exactly what the operator has written down, whatever happened before', () => {
    const kinds = new Set<string>();
    for (let seed = 1; seed <= 60; seed++) {
      const world = new World(seed);
      if (seed % 2 === 0) world.leases = new Map();
      world.lifecycle = seed % 3 === 0;
      world.rates = { ...NO_FAULTS, stageFails: 0.3, rollsBack: 0.1, refusal: 0.4, agentAway: 0.2 };
      world.addImage({ name: 'fleet', maxUnavailable: 1 + (seed % 3), policy: calendarOf(seed % CALENDARS) });
      for (let index = 0; index < 5; index++) world.addNode(`node-${index}`, {}, index === 1 ? 'arm64' : 'amd64');
      for (let round = 0; round < 10 + seed; round++) {
        if (world.chance(0.1)) somethingHappens(world);
        world.act(() => undefined);
        world.advance(10);
      }
      // Some evictions are refused at random, and asked again.
      for (let round = 0; round < 60; round++)
        for (const action of plan(world.snapshot(), world.now).actions) world.execute(action);
      const snapshot = world.snapshot();
      const spoken = plan(snapshot, world.now).actions.every(isLook);
      assert.ok(spoken, `seed ${seed} does not come to rest`);
      const explained = explainImage(recorded(snapshot), 'fleet', world.now);
      const said = world.images.get('fleet')?.status?.blockers ?? [];
      const told = explained?.blockers ?? [];
      for (const blocker of said) {
        const same = told.find(({ message }) => message === blocker.message);
        assert.deepEqual(same, { ...blocker, actor: same?.actor });
      }
      assert.equal(told.length, said.length, `seed ${seed}: ${JSON.stringify(told)}`);
      for (const { type } of said) kinds.add(type);
    }
    // It would hold for silence, too.
    assert.ok(kinds.size > 7, [...kinds].join(' '));
  });

  it('of a node that waits for a hook says which condition the hook has to set, and that nobody else need act', () => {
    const gates = [{ conditionType: 'example.com/Checked', when: 'BeforeReboot' }];
    const image = imageOf({ policy: { health: { gates } } }).object;
    const rollout = {
      phase: 'AwaitingGate',
      slotTime: '2026-11-23T11:58:00Z',
      gateTime: '2026-11-23T11:59:00Z',
    } as const;
    const nodes = [nodeOf('a', { cordoned: true, cordonedBy: 'nos-a' })];
    const snapshot = written(image, nodes, [nodeOSOf('a', { staged: 'v2', order: STAGE, rollout })]);
    const explained = explainNode(snapshot, 'a', NOW);
    assert.deepEqual([explained?.actor, explained?.blockers[0]?.type], ['Hook', 'GateClosed']);
    assert.match(explained?.blockers[0]?.message ?? '', /condition example\.com\/Checked to be True/);
  });

  it('of a node that waits names its place in the queue, who holds the slots, and what is in the way of all', () => {
    const image = imageOf({ paused: true }).object;
    const nodes = ['a', 'b', 'c'].map((name) => nodeOf(name));
    const snapshot = written(image, nodes, [waiting('a'), waiting('b'), holding('c')]);
    const explained = explainNode(snapshot, 'a', NOW);
    assert.deepEqual(
      [explained?.phase, explained?.since, explained?.updated],
      ['AwaitingSlot', '2026-11-23T11:59:00Z', false],
    );
    assert.deepEqual(explained?.image?.holders, [{ node: 'c', phase: 'Draining', since: '2026-11-23T11:58:00Z' }]);
    const queue = explained.image.queue;
    assert.deepEqual(queue.toSorted(), ['a', 'b']);
    assert.equal(explained.position, queue.indexOf('a') + 1);
    assert.deepEqual(
      explained.blockers.map(({ type, actor }) => [type, actor]),
      [['Paused', 'Person']],
    );
    assert.equal(explained.actor, 'Person');
  });

  it('of a node that waits for the slots of others says that nobody has to act', () => {
    const nodes = ['a', 'c'].map((name) => nodeOf(name));
    const explained = explainNode(written(imageOf().object, nodes, [waiting('a'), holding('c')]), 'a', NOW);
    assert.deepEqual(
      explained?.blockers.map(({ type }) => type),
      ['BudgetSpent'],
    );
    assert.match(explained?.blockers[0]?.message ?? '', /c holds a slot/);
    assert.equal(explained?.actor, 'OtherNodes');
  });

  it('of a node that holds a slot leaves out what keeps the others from getting one', () => {
    const nodes = ['a', 'c'].map((name) => nodeOf(name));
    const image = imageOf({ paused: true }).object;
    assert.deepEqual(explainNode(written(image, nodes, [waiting('a'), holding('c')]), 'c', NOW)?.blockers, []);
  });

  it('puts what is about the node itself first, and adds the failures of others that stop all', () => {
    const failed = nodeOSOf('b', {
      order: STAGE,
      rollout: { phase: 'Failed', preBootID: 'boot-0', message: 'The host came back on another image.' },
    });
    const nodes = [nodeOf('a', { ready: false }), nodeOf('b')];
    const explained = explainNode(written(imageOf({ paused: true }).object, nodes, [waiting('a'), failed]), 'a', NOW);
    assert.deepEqual(
      explained?.blockers.map(({ type, node }) => [type, node]),
      [
        ['NodeNotReady', 'a'],
        ['RolloutHalted', undefined],
        ['RolledBack', 'b'],
        ['Paused', undefined],
      ],
    );
  });

  it('takes from the API what only the running operator has heard', () => {
    const blockers = [
      {
        type: 'DrainRefused',
        node: 'c',
        object: 'Pod/shop/cart',
        message: 'says: "no"',
        since: '2026-11-23T11:59:00Z',
      },
    ];
    const image = imageOf().object;
    const object = { ...image, status: { ...image.status, blockers } };
    const snapshot = recorded({ images: [{ ...imageOf(), object }], nodes: [nodeOf('c')], nodeOSes: [holding('c')] });
    assert.deepEqual(explainNode(snapshot, 'c', NOW)?.blockers, [{ ...blockers[0], actor: 'Person' }]);
  });

  it('of a node that is updated, or that nobody selects, names nothing in the way', () => {
    const done = nodeOSOf('a', { booted: 'v2', rollout: { phase: 'Updated' } });
    const nodes = [nodeOf('a'), nodeOf('b', { labels: { pool: 'other' } })];
    const image = imageOf({ selector: { matchExpressions: [{ key: 'pool', operator: 'DoesNotExist' }] } }).object;
    const snapshot = written(image, nodes, [done]);
    assert.deepEqual([explainNode(snapshot, 'a', NOW)?.updated, explainNode(snapshot, 'a', NOW)?.blockers], [true, []]);
    assert.match(explainNode(snapshot, 'b', NOW)?.message ?? '', /^No OSImage selects b/);
    assert.equal(explainNode(snapshot, 'c', NOW), undefined);
  });
});
