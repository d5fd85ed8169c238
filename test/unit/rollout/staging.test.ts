import assert from 'node:assert/strict';
import { bootOrder, settledStageOrder, stageOrder } from '../../../operator/rollout/order.ts';
import { plan } from '../../../operator/rollout/plan.ts';
import { NOW, imageOf, manifestOf, nodeOSOf, nodeOf, snapshotOf } from './fixtures.ts';
import type { NodeOSOptions } from './fixtures.ts';
import { keepsItsPromises } from './promises.ts';
import { FETCHING, HOLDING, NAMES, PLACE, STAGE, TARGET, WAITING } from './staging-scene.ts';
import { begun, blockers, rollouts, scene, settled, told } from './staging-scene.ts';
import { World } from './world.ts';

describe('The mirrors of an image', () => {
  const mirrors = ['b.example:5000/os', 'a.example/copies/os'];

  it('stand in the order to stage, in their order, and in no other', () => {
    const given = snapshotOf({
      images: [imageOf({ mirrors })],
      nodes: [nodeOf('a')],
      nodeOSes: [nodeOSOf('a', FETCHING)],
    });
    const { order } = settled(given).spec;
    assert.deepEqual([order?.goal, order?.mirrors], ['Stage', mirrors]);
    const rebooting = { phase: 'Rebooting', phaseTime: PLACE, rebootDeadline: PLACE, digest: TARGET.digest } as const;
    assert.equal(bootOrder({ ...TARGET, mirrors }, rebooting)?.mirrors, undefined);
  });

  it('make another order of it when they change, so that a corrected one is tried at once', () => {
    const ids = [[], mirrors, mirrors.toReversed()].map((some) => stageOrder({ ...TARGET, mirrors: some }, 0, 'b').id);
    assert.equal(new Set(ids).size, 3);
    assert.equal(ids[0], stageOrder(TARGET, 0, 'b').id);
  });
});

describe('Kernel arguments', () => {
  const kernelArguments = { append: ['console=ttyS0'], delete: ['quiet'] };

  it('go with the order to stage, and neither begin anything anew nor change what is staged', () => {
    const plain = stageOrder(TARGET, 0, 'boot-1');
    const order = stageOrder({ ...TARGET, kernelArguments }, 0, 'boot-1');
    assert.deepEqual(order, { ...plain, kernelArguments });
    assert.equal(settledStageOrder({ ...TARGET, kernelArguments }, 0, 'boot-1', plain), plain);
  });

  it('are those of the spec, for every node of the fleet', () => {
    const world = new World(7);
    world.addImage({ name: 'fleet', policy: { kernelArguments } });
    world.addNode('a');
    const ordered: unknown[] = [];
    for (let round = 0; round < 5; round++) {
      for (const action of world.act(keepsItsPromises).actions)
        if (action.kind === 'WriteOrder' && action.spec.order?.goal === 'Stage') ordered.push(action.spec.order);
      world.advance(5);
    }
    assert.ok(ordered.length > 0);
    for (const order of ordered)
      assert.deepEqual((order as { kernelArguments: unknown }).kernelArguments, kernelArguments);
  });
});

describe('The limits of staging', () => {
  const limits = { bytesPerSecond: 5_000_000, minimumFreeBytes: 1_000_000_000 };
  const given = (os: NodeOSOptions, staging: Record<string, unknown>) =>
    settled(scene({ names: ['a'], os: () => os, staging, rollout: { paused: true } })).spec.order;

  it('are part of the order to stage', () => {
    assert.deepEqual(given(FETCHING, limits)?.limits, limits);
    assert.equal(given(FETCHING, {})?.limits, undefined);
  });

  it('change under the same order, so that nothing is begun anew, and not at all once the image is there', () => {
    const order = given(FETCHING, limits);
    assert.equal(order?.id, STAGE.id);
    assert.equal(given({ ...FETCHING, ...(order && { order }) }, {})?.id, STAGE.id);
    const held = { ...HOLDING, ...(order && { order }) };
    assert.deepEqual(given(held, { bytesPerSecond: 1024 })?.limits, limits);
  });
});

describe('An image that cannot be staged', () => {
  const said = 'Layer sha256:abc is not what its digest promises: have the image built again.';
  const refused: NodeOSOptions = {
    order: STAGE,
    lastOrder: {
      id: STAGE.id,
      result: 'Failed',
      reason: 'InvalidLayer',
      message: said,
      fault: 'Image',
      completionTime: PLACE,
    },
    rollout: { phase: 'Pending', attempts: 1, nextAttemptTime: '2026-11-23T12:05:00Z', fault: 'Image' },
  };
  const first =
    (count: number, rest: NodeOSOptions, given = refused) =>
    (name: string) =>
      NAMES.indexOf(name) < count ? given : rest;

  it('parks the rollout once two nodes have found that, before the first cordon, and quotes the agent', () => {
    const snapshot = scene({ os: first(2, WAITING) });
    assert.deepEqual(begun({ os: first(2, WAITING) }), []);
    const write = plan(snapshot, NOW).actions.find(({ kind }) => kind === 'WriteImageStatus');
    assert.ok(write?.kind === 'WriteImageStatus');
    const [blocker] = write.status.blockers ?? [];
    assert.equal(blocker?.type, 'ImageRefused');
    assert.ok(blocker.message.includes(said), blocker.message);
    const stalled = write.status.conditions?.find(({ type }) => type === 'Stalled');
    assert.equal(stalled?.status, 'True');
    assert.ok(begun({ os: first(1, WAITING) }).length > 0, 'one node may be wrong');
  });

  it('is parked by the only node there is', () => {
    assert.deepEqual(blockers({ names: ['node-0'], os: () => refused }), ['ImageRefused', 'StagingFailed']);
  });

  it('is tried again by those that have tried it, and goes on as soon as one has staged it', () => {
    const rested = { ...refused, rollout: { ...refused.rollout, nextAttemptTime: PLACE } };
    assert.deepEqual(begun({ os: first(2, WAITING, rested) }).toSorted(), ['node-0', 'node-1']);
    const os = (name: string) => (name === 'node-2' ? HOLDING : first(2, WAITING)(name));
    assert.ok(begun({ os }).length > 0);
  });

  it('parks only the architecture that it is broken for, and no slot is granted meanwhile', () => {
    const arm = (name: string) => (NAMES.indexOf(name) < 3 ? { architecture: 'arm64' } : {});
    const digest = manifestOf('v2', 'arm64');
    const other = { ...refused, rollout: { ...refused.rollout, digest } };
    const os = (name: string) => (NAMES.indexOf(name) < 2 ? other : name === 'node-5' ? HOLDING : WAITING);
    const names = begun({ os, node: arm });
    assert.ok(names.length > 0 && !names.includes('node-2'));
    assert.ok([...rollouts(scene({ os, node: arm })).values()].every(({ slotTime }) => slotTime === undefined));
  });

  it('is tried again though the look-ahead is full of another architecture that waits for its slot', () => {
    const arm = (name: string) => (NAMES.indexOf(name) < 2 ? { architecture: 'arm64' } : {});
    const digest = manifestOf('v2', 'arm64');
    const rested = { ...refused, rollout: { ...refused.rollout, digest, nextAttemptTime: PLACE } };
    const staging = { mode: 'AheadOfRollout', lookahead: 1 };
    assert.deepEqual(begun({ staging, os: first(2, HOLDING, rested), node: arm }).toSorted(), ['node-0', 'node-1']);
  });

  it('is not tried beyond the look-ahead by one node that blames it, while another has staged it', () => {
    const rested = { ...refused, rollout: { ...refused.rollout, nextAttemptTime: PLACE } };
    const os = (name: string) => (name === 'node-1' ? HOLDING : first(1, WAITING, rested)(name));
    const staging = { mode: 'AheadOfRollout', lookahead: 1 };
    assert.deepEqual(begun({ staging, os, rollout: { paused: true } }), []);
  });

  it('is another matter than a registry that is away or a node that is full', () => {
    for (const fault of ['Registry', 'Node'] as const) {
      const failed = { ...refused, rollout: { ...refused.rollout, fault } };
      assert.ok(begun({ os: first(5, WAITING, failed) }).length > 0);
    }
  });
});

describe('Staging places', () => {
  it('are given to ten nodes at once unless spec.staging says otherwise; the others stay Pending without an order', () => {
    assert.equal(begun({}).length, 10);
    const left = [...rollouts(scene({})).values()].filter(({ stagingTime }) => stagingTime === undefined);
    assert.deepEqual(
      left.map(({ phase }) => phase),
      ['Pending', 'Pending'],
    );
    assert.ok(plan(scene({}), NOW).actions.every(({ kind }) => kind !== 'WriteOrder'));
  });

  it('are a number or a percentage of the selected nodes, rounded down but at least 1; zero lets nobody begin and says so', () => {
    assert.equal(begun({ staging: { maxConcurrent: 3 } }).length, 3);
    assert.equal(begun({ staging: { maxConcurrent: '50%' } }).length, 6);
    assert.equal(begun({ staging: { maxConcurrent: '1%' } }).length, 1);
    for (const maxConcurrent of [0, '0%']) {
      assert.deepEqual(begun({ staging: { maxConcurrent } }), []);
      assert.deepEqual(blockers({ staging: { maxConcurrent } }), ['StagingClosed']);
    }
  });

  it('are not given while no window for staging is open, nor in a freeze; who has one finishes, and people are told once', () => {
    const windows = [{ name: 'night', schedule: '0 2 * * *', durationSeconds: 3600, actions: ['Stage'] }];
    const freezes = [{ start: '2026-11-23T11:00:00Z', end: '2026-11-23T13:00:00Z', reason: 'sale' }];
    for (const [policy, type] of [
      [{ windows }, 'WindowClosed'],
      [{ freezes }, 'Frozen'],
    ] as const) {
      const closed = { ...scene({}), images: [imageOf({ policy })] };
      assert.deepEqual(told(closed), [type]);
      assert.ok([...rollouts(closed).values()].every(({ stagingTime }) => stagingTime === undefined));
      assert.ok(plan(closed, NOW).nextTime !== undefined);
      const busy = { ...scene({ names: ['a'], os: () => FETCHING }), images: [imageOf({ policy })] };
      assert.equal(settled(busy).spec.order?.id, STAGE.id);
    }
  });

  it('are taken from the write that grants them until the image is staged or a failure rests', () => {
    const staging = { maxConcurrent: 2 };
    const with2 = (first: NodeOSOptions, second: NodeOSOptions) =>
      begun({ staging, os: (name) => (name === 'node-0' ? first : name === 'node-1' ? second : WAITING) }).length;
    const resting: NodeOSOptions = {
      order: STAGE,
      rollout: { phase: 'Pending', attempts: 1, nextAttemptTime: '2026-11-23T12:00:09Z' },
    };
    assert.equal(with2(FETCHING, FETCHING), 0);
    assert.equal(with2(FETCHING, HOLDING), 1);
    assert.equal(with2(resting, HOLDING), 2);
  });

  it('need nobody who holds the image already, or runs it', () => {
    const os = (name: string): NodeOSOptions => (name === 'node-0' ? { staged: 'v2' } : { booted: 'v2' });
    const after = rollouts(scene({ staging: { maxConcurrent: 0 }, names: NAMES.slice(0, 2), os }));
    assert.equal(after.get('node-0')?.phase, 'AwaitingSlot');
    assert.equal(after.get('node-1')?.phase, 'Updated');
  });

  it('are given in the order of slots, so that the first to be updated are the first to hold the image', () => {
    const [first] = begun({ staging: { maxConcurrent: 1 } });
    const slot = [...rollouts(scene({ os: () => HOLDING }))].find(([, { phase }]) => phase === 'Draining');
    assert.equal(first, slot?.[0]);
  });

  it('are not given to a node that is NotReady, being deleted, or has not answered that it gave up an earlier order', () => {
    const observe = { ...STAGE, id: 'observe.x.0', goal: 'Observe' as const };
    for (const node of [{ ready: false }, { deleting: true }]) assert.deepEqual(begun({ node: () => node }), []);
    assert.deepEqual(begun({ os: () => ({ ...WAITING, order: observe }) }), []);
    const told = {
      id: observe.id,
      result: 'Succeeded',
      reason: 'Observed',
      message: '',
      completionTime: PLACE,
    } as const;
    assert.equal(begun({ os: () => ({ ...WAITING, order: observe, lastOrder: told }) }).length, 10);
  });

  it('are taken back, order first, from a node that has been silent or NotReady for minutes', () => {
    const since = '2026-11-23T11:54:00Z';
    const silent: NodeOSOptions = { order: STAGE, rollout: { phase: 'Staging', stagingTime: since } };
    const after = settled(scene({ names: ['a'], os: () => silent }));
    assert.equal(after.spec.order?.goal, 'Observe');
    assert.equal(after.status?.rollout?.phase, 'Pending');
    assert.equal(after.status.rollout.stagingTime, undefined);
    const kept = settled(scene({ names: ['a'], os: () => FETCHING }));
    assert.equal(kept.spec.order?.id, STAGE.id);
    const flapping = () => ({ ready: false, readySince: new Date('2026-11-23T11:59:30Z') });
    assert.equal(settled(scene({ names: ['a'], os: () => silent, node: flapping })).spec.order?.id, STAGE.id);
    const busy = scene({ names: ['a'], os: () => silent });
    const [os] = busy.nodeOSes;
    assert.ok(os);
    const progress = { stage: 'Pulling', layersDone: 0, layersTotal: 1, bytesDone: 1, bytesTotal: 9 } as const;
    const nodeOSes = [{ ...os, status: { ...os.status, progress } }];
    assert.equal(settled({ ...busy, nodeOSes }).spec.order?.id, STAGE.id);
  });

  it('are given back when the target changes: the old order is taken back, and the node waits like the others', () => {
    const given = scene({ staging: { maxConcurrent: 0 }, names: ['a'] });
    const image = imageOf({ version: 'v3', policy: { staging: { maxConcurrent: 0 } } });
    const snapshot = { ...given, images: [image], nodeOSes: [nodeOSOf('a', FETCHING)] };
    const os = settled(snapshot);
    assert.equal(os.status?.rollout?.phase, 'Pending');
    assert.equal(os.spec.order?.goal, 'Observe');
  });
});
