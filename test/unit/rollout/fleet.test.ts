import assert from 'node:assert/strict';
import { drainPolicySchema, NO_ORDER } from '../../../api/index.ts';
import type { OSImageStatus } from '../../../api/index.ts';
import { countOf, withinBudget } from '../../../operator/rollout/budget.ts';
import { selects } from '../../../operator/rollout/membership.ts';
import { stageOrder } from '../../../operator/rollout/order.ts';
import { plan } from '../../../operator/rollout/plan.ts';
import type { ImageSnapshot, NodeSnapshot, Snapshot } from '../../../operator/rollout/snapshot.ts';
import { grants } from '../../../operator/rollout/slots.ts';
import { turnOf } from '../../../operator/rollout/turn.ts';
import {
  EXCLUDED,
  NOW,
  digestOf,
  imageOf,
  manifestOf,
  nodeOSOf,
  nodeOf,
  ourCordon,
  release,
  snapshotOf,
} from './fixtures.ts';
import type { ImageOptions, NodeOSOptions } from './fixtures.ts';

const TARGET = {
  digest: manifestOf('v2'),
  image: `ostree-unverified-registry:registry.example/os@${manifestOf('v2')}`,
};
const WAITING: NodeOSOptions = {
  staged: 'v2',
  order: stageOrder(TARGET, 0, 'boot-1'),
  rollout: { phase: 'AwaitingSlot' },
};
const SLOT = '2026-11-23T11:58:00Z';

function granted(snapshot: Snapshot): readonly string[] {
  return plan(snapshot, NOW).actions.flatMap((action) =>
    action.kind === 'WriteRollout' && action.status.rollout.phase === 'Draining' ? [action.name] : [],
  );
}

function waiting(
  names: readonly string[],
  image: ImageOptions = {},
  differences: Record<string, Partial<NodeSnapshot>> = {},
): Snapshot {
  return snapshotOf({
    images: [imageOf(image)],
    nodes: names.map((name) => nodeOf(name, differences[name])),
    nodeOSes: names.map((name) => nodeOSOf(name, WAITING)),
  });
}

function statusOf(snapshot: Snapshot, name = 'fleet'): OSImageStatus {
  const write = plan(snapshot, NOW).actions.find(
    (action) => action.kind === 'WriteImageStatus' && action.name === name,
  );
  assert.ok(write?.kind === 'WriteImageStatus', `nothing is said about ${name}`);
  return write.status;
}

function conditionOf(status: OSImageStatus, type: string): string {
  const condition = status.conditions?.find((one) => one.type === type);
  return `${condition?.status} ${condition?.reason}`;
}

function resolvedAs(image: ImageSnapshot, version: string): ImageSnapshot {
  return { ...image, resolution: { state: 'Resolved', image: release(version, image.object.spec.image.reference) } };
}

describe('Slots', () => {
  it('are as many as maxUnavailable says: percentages round down but to 1 at least, and zero grants none', () => {
    const table: readonly (readonly [number | string, number, number])[] = [
      [0, 10, 0],
      ['0%', 10, 0],
      [3, 10, 3],
      ['25%', 10, 2],
      ['25%', 3, 1],
      ['1%', 10, 1],
      ['100%', 4, 4],
    ];
    for (const [value, nodes, expected] of table) assert.equal(countOf(value, nodes), expected, `${value} of ${nodes}`);
    assert.equal(granted(waiting(['a', 'b', 'c'], { maxUnavailable: 2 })).length, 2);
    assert.equal(granted(waiting(['a', 'b'], { maxUnavailable: '0%' })).length, 0);
  });

  it('are not granted while somebody else has made as many nodes unavailable', () => {
    for (const cause of [{ ready: false }, { cordoned: true }, { deleting: true }]) {
      const snapshot = waiting(['a', 'b', 'c'], {}, { c: cause });
      assert.deepEqual(
        granted(snapshot).filter((name) => name !== 'c'),
        [],
        JSON.stringify(cause),
      );
    }
  });

  it('of a Node that is deleted, or made anew under its name, are free in the very next plan', () => {
    const holding = nodeOSOf('a', { ...WAITING, rollout: { phase: 'Rebooting', slotTime: SLOT, cordonOwned: true } });
    const { nodes, nodeOSes, ...rest } = waiting(['a', 'b']);
    const others = nodeOSes.filter(({ metadata }) => metadata.name !== 'a');
    const held = { ...rest, nodes, nodeOSes: [holding, ...others] };
    assert.deepEqual(granted(held), []);
    const gone = { ...held, nodes: nodes.filter(({ name }) => name !== 'a') };
    assert.deepEqual(granted(gone), ['b']);
    const anew = { ...held, nodes: [...gone.nodes, nodeOf('a', { uid: 'node-a-2' })] };
    assert.deepEqual(granted(anew), ['b']);
  });

  it('go to a node below a foreign cordon within the budget, since it is unavailable already', () => {
    assert.deepEqual(granted(waiting(['a', 'b'], {}, { b: { cordoned: true } })), ['b']);
    assert.deepEqual(granted(waiting(['a', 'b', 'c'], {}, { b: { cordoned: true }, c: { cordoned: true } })), []);
  });

  it('are not granted while paused, nor after a node has failed for this digest, until the target changes', () => {
    assert.deepEqual(granted(waiting(['a'], { paused: true })), []);
    const failed = nodeOSOf('z', { rollout: { phase: 'Failed', preBootID: 'boot-0' } });
    const halted = waiting(['a', 'b'], { maxUnavailable: 2 });
    const nodes = [...halted.nodes, nodeOf('z')];
    assert.deepEqual(granted({ ...halted, nodes, nodeOSes: [...halted.nodeOSes, failed] }), []);
    const old = nodeOSOf('z', { rollout: { phase: 'Failed', preBootID: 'boot-0', digest: manifestOf('v0') } });
    assert.equal(granted({ ...halted, nodes, nodeOSes: [...halted.nodeOSes, old] }).length, 2);
  });

  it('are given in an order that the digest shuffles, that stays the same for one digest, and that puts failed nodes last', () => {
    const names = Array.from({ length: 12 }, (_, index) => `node-${String(index).padStart(2, '0')}`);
    const views = (attempts: (name: string) => number) =>
      names.map((name) => {
        const os = nodeOSOf(name, { rollout: { attempts: attempts(name) } });
        const policy = { drainPolicy: drainPolicySchema.parse({}), rebootTimeoutSeconds: 1, minReadySeconds: 0 };
        const health = { gates: [], checks: [], answerTo: () => undefined };
        return { node: nodeOf(name), os, drain: undefined, alone: false, ...policy, ...health, now: NOW };
      });
    const all = [withinBudget({ max: 100, unavailable: new Set<string>() })];
    const turn = turnOf(imageOf().object, digestOf('v2'));
    const first = grants(
      views(() => 0),
      all,
      turn,
    );
    assert.deepEqual(grants(views(() => 0).reverse(), all, turn), first);
    assert.notDeepEqual(first, names);
    const next = turnOf(imageOf().object, digestOf('v3'));
    assert.notDeepEqual(
      grants(
        views(() => 0),
        all,
        next,
      ),
      first,
    );
    const unlucky = first[0] ?? '';
    assert.equal(
      grants(
        views((name) => (name === unlucky ? 1 : 0)),
        all,
        turnOf(imageOf().object, digestOf('v2')),
      ).at(-1),
      unlucky,
    );
  });
});

describe('Membership', () => {
  it('follows the rules of Kubernetes label selectors', () => {
    const labels = { zone: 'a', gpu: '' };
    const one = (key: string, operator: 'In' | 'NotIn' | 'Exists' | 'DoesNotExist', values?: string[]) =>
      selects({ matchExpressions: [{ key, operator, ...(values && { values }) }] }, labels);
    assert.ok(selects({}, labels) && selects({ matchLabels: { zone: 'a' } }, labels));
    assert.ok(!selects({ matchLabels: { zone: 'b' } }, labels));
    assert.ok(one('zone', 'In', ['a', 'b']) && !one('zone', 'In', ['b']) && !one('none', 'In', ['a']));
    assert.ok(one('zone', 'NotIn', ['b']) && !one('zone', 'NotIn', ['a']) && one('none', 'NotIn', ['a']));
    assert.ok(
      one('gpu', 'Exists') && !one('none', 'Exists') && one('none', 'DoesNotExist') && !one('gpu', 'DoesNotExist'),
    );
  });

  it('leaves a node that two OSImages select as it is, and both say so', () => {
    const images = [imageOf({ name: 'fleet' }), imageOf({ name: 'other', version: 'v3' })];
    const snapshot = snapshotOf({ images, nodes: [nodeOf('a')], nodeOSes: [] });
    for (const name of ['fleet', 'other']) {
      const status = statusOf(snapshot, name);
      assert.equal(conditionOf(status, 'SelectorConflict'), 'True SelectorConflict');
      assert.equal(conditionOf(status, 'Ready'), 'False SelectorConflict');
      assert.match(status.blockers?.[0]?.message ?? '', /OSImages fleet, other all select a/);
    }
    assert.ok(plan(snapshot, NOW).actions.every(({ kind }) => kind === 'WriteImageStatus' || kind === 'Emit'));
  });

  it('ends with an excluded node left alone and a NodeOS that says so', () => {
    const snapshot = snapshotOf({ nodes: [nodeOf('a', EXCLUDED)], nodeOSes: [nodeOSOf('a', WAITING)] });
    const write = plan(snapshot, NOW).actions.find((action) => action.kind === 'WriteRollout');
    assert.equal(write?.status.rollout.phase, 'Excluded');
    assert.equal(conditionOf(statusOf(snapshot), 'Ready'), 'True AllNodesExcluded');
  });

  it('leaves the pull credentials in a NodeOS alone: with or without them it decides the same, and no write drops them', () => {
    const pullCredentials = { secretName: 's', secretVersion: '1', key: `${'A'.repeat(43)}=`, sealed: 'x' };
    const states: NodeOSOptions[] = [
      WAITING,
      { rollout: { phase: 'Staging', stagingTime: SLOT } },
      { ...WAITING, rollout: { phase: 'Rebooting', slotTime: SLOT, rebootDeadline: '2026-11-23T12:10:00Z' } },
      { booted: 'v2', rollout: { phase: 'Updated' } },
      { rollout: { phase: 'Failed', attempts: 6 } },
    ];
    let orders = 0;
    for (const state of states) {
      let os = nodeOSOf('a', state);
      // What is to be durable before an order is written first.
      for (let round = 0; round < 3; round++) {
        const without = snapshotOf({ nodes: [nodeOf('a')], nodeOSes: [os] });
        const sealed = { ...os, spec: { ...os.spec, pullCredentials } };
        const { actions } = plan(without, NOW);
        const expected = actions.map((action) =>
          action.kind === 'WriteOrder' ? { ...action, spec: { ...action.spec, pullCredentials } } : action,
        );
        assert.deepEqual(plan({ ...without, nodeOSes: [sealed] }, NOW).actions, expected);
        for (const action of actions) {
          if (action.kind === 'WriteOrder') os = { ...os, spec: action.spec };
          else if (action.kind === 'WriteRollout') {
            const { rollout, conditions } = action.status;
            os = { ...os, status: { ...os.status, rollout, conditions: [...conditions] } };
          }
          orders += action.kind === 'WriteOrder' ? 1 : 0;
        }
      }
    }
    assert.ok(orders > 0);
  });

  it('deletes the NodeOS of a Node that is gone or was made anew, and makes the new one only then', () => {
    const anew = snapshotOf({ nodes: [nodeOf('a', { uid: 'second' })], nodeOSes: [nodeOSOf('a')] });
    const kinds = plan(anew, NOW).actions.map(({ kind }) => kind);
    assert.ok(kinds.includes('DeleteNodeOS') && !kinds.includes('CreateNodeOS'));
    assert.ok(plan(snapshotOf({ nodeOSes: [nodeOSOf('a')] }), NOW).actions.some(({ kind }) => kind === 'DeleteNodeOS'));
  });

  it('lets a deleted OSImage wait for a boot that may be under way before its NodeOS goes', () => {
    const order = { ...stageOrder(TARGET, 0, 'boot-1'), id: 'boot', goal: 'Boot' as const };
    const rollout = {
      phase: 'Rebooting',
      slotTime: SLOT,
      preBootID: 'boot-1',
      rebootDeadline: '2026-11-23T12:10:00Z',
    } as const;
    const node = nodeOf('a', ourCordon('a'));
    const snapshot = snapshotOf({
      images: [],
      nodes: [node],
      nodeOSes: [nodeOSOf('a', { staged: 'v2', order, rollout })],
    });
    const [first] = plan(snapshot, NOW).actions;
    assert.ok(first?.kind === 'WriteOrder' && first.spec.order?.goal === 'Discard');
    const waits = { ...snapshot, nodeOSes: [nodeOSOf('a', { staged: 'v2', order: first.spec.order, rollout })] };
    assert.ok(
      plan(waits, NOW).actions.every(({ kind }) => kind === 'WriteRollout'),
      'no uncordon, no deletion',
    );
    const gone = snapshotOf({
      images: [],
      nodes: [nodeOf('a')],
      nodeOSes: [nodeOSOf('a', { rollout: { phase: 'Excluded' } })],
    });
    assert.deepEqual(
      plan(gone, NOW).actions.map(({ kind }) => kind),
      ['DeleteNodeOS'],
    );
  });

  it('lifts a cordon of ours whose NodeOS is gone, and never one without our mark', () => {
    const lost = snapshotOf({
      images: [],
      nodes: [nodeOf('a', { cordoned: true, cordonedBy: 'nos-before' }), nodeOf('b', { cordoned: true })],
    });
    assert.deepEqual(plan(lost, NOW).actions, [{ kind: 'Uncordon', node: 'a', by: 'nos-before', marks: {} }]);
  });
});

describe('The target', () => {
  it('is durable in the status before any node is ordered to it', () => {
    const snapshot = snapshotOf({
      images: [imageOf({ announced: false })],
      nodes: [nodeOf('a')],
      nodeOSes: [nodeOSOf('a')],
    });
    assert.equal(statusOf(snapshot).target?.digest, digestOf('v2'));
    assert.ok(plan(snapshot, NOW).actions.every(({ kind }) => kind !== 'WriteOrder'));
  });

  it('stays under Manual when the tag moves, which is shown as available; Automatic takes it', () => {
    const moved = statusOf(snapshotOf({ images: [resolvedAs(imageOf(), 'v3')] }));
    assert.equal(moved.target?.digest, digestOf('v2'));
    assert.equal(moved.available?.digest, digestOf('v3'));
    const taken = statusOf(snapshotOf({ images: [resolvedAs(imageOf({ updatePolicy: 'Automatic' }), 'v3')] }));
    assert.equal(taken.target?.digest, digestOf('v3'));
    assert.equal(taken.available, undefined);
  });

  it('is not taken from an answer about an earlier reference', () => {
    const image = imageOf({ announced: false });
    const late = { ...image, resolution: { state: 'Resolved', image: release('v1') } } as const;
    assert.equal(statusOf(snapshotOf({ images: [late] })).target, undefined);
  });
});

describe('An OSImage', () => {
  const done = (name: string) => nodeOSOf(name, { booted: 'v2', rollout: { phase: 'Updated' } });

  it('is Ready when, and only when, all its nodes run the target and have soaked', () => {
    const nodes = [nodeOf('a'), nodeOf('b')];
    const all = statusOf(snapshotOf({ nodes, nodeOSes: [done('a'), done('b')] }));
    assert.equal(conditionOf(all, 'Ready'), 'True AllNodesUpdated');
    assert.equal(conditionOf(all, 'Reconciling'), 'False NothingToDo');
    assert.equal(all.nodes?.updatedOfTotal, '2/2');
    assert.equal(all.current?.digest, digestOf('v2'));
    const soaking = nodeOSOf('b', { booted: 'v2', rollout: { phase: 'Soaking', slotTime: SLOT } });
    const most = statusOf(snapshotOf({ nodes, nodeOSes: [done('a'), soaking] }));
    assert.equal(conditionOf(most, 'Ready'), 'False RollingOut');
    assert.equal(conditionOf(most, 'Reconciling'), 'True RollingOut');
    assert.equal(most.nodes?.updatedOfTotal, '1/2');
  });

  it('that selects no node is Ready and says so', () => {
    assert.equal(conditionOf(statusOf(snapshotOf({})), 'Ready'), 'True NoNodesSelected');
  });

  it('that has a failed node is Stalled and Degraded, not Reconciling, and says which node and what to do', () => {
    const failed = nodeOSOf('a', {
      bootID: 'boot-2',
      rollout: { phase: 'Failed', preBootID: 'boot-1', message: 'The host came back on v1.' },
    });
    const status = statusOf(snapshotOf({ nodes: [nodeOf('a')], nodeOSes: [failed] }));
    assert.equal(conditionOf(status, 'Stalled'), 'True RolloutHalted');
    assert.equal(conditionOf(status, 'Degraded'), 'True NodesFailed');
    assert.equal(conditionOf(status, 'Reconciling'), 'False NothingToDo');
    const [halted, failure] = status.blockers ?? [];
    assert.equal(halted?.type, 'RolloutHalted');
    assert.match(halted.message, /1 node has failed \(RolledBack: a\)/);
    assert.equal(failure?.type, 'RolledBack');
    assert.match(failure.message, /Roll out another image, or delete NodeOS a/);
  });

  it('quotes the API server when it refuses an eviction, with pod and budget', () => {
    const os = nodeOSOf('a', { ...WAITING, rollout: { phase: 'Draining', slotTime: SLOT } });
    const message = "Cannot evict pod as it would violate the pod's disruption budget.";
    const refusals = [{ namespace: 'shop', pod: 'cart-0', budget: 'cart', message, since: new Date(SLOT) }];
    const snapshot = snapshotOf({
      nodes: [nodeOf('a', ourCordon('a'))],
      nodeOSes: [os],
      drains: new Map([['a', { podsLeft: 1, refusals }]]),
    });
    const status = statusOf(snapshot);
    const blocker = status.blockers?.find(({ type }) => type === 'DrainRefused');
    assert.equal(blocker?.object, 'Pod/shop/cart-0');
    assert.equal(blocker.since, SLOT);
    assert.ok(blocker.message.includes(message) && blocker.message.includes('PodDisruptionBudget shop/cart'));
    assert.equal(conditionOf(status, 'DrainBlocked'), 'True EvictionRefused');
  });

  it('says why an image cannot be resolved, and is not Ready', () => {
    const image: ImageSnapshot = {
      ...imageOf({ announced: false }),
      resolution: { state: 'Failed', reason: 'ManifestUnknown', message: 'No such tag.' },
    };
    const status = statusOf(snapshotOf({ images: [image], nodes: [nodeOf('a')] }));
    assert.equal(conditionOf(status, 'Ready'), 'False ImageNotResolved');
    assert.match(status.blockers?.[0]?.message ?? '', /No such tag/);
  });

  it('keeps what it said while a restarted operator still waits for the registry', () => {
    const snapshot = snapshotOf({ nodes: [nodeOf('a')], nodeOSes: [done('a')] });
    const status = statusOf(snapshot);
    const image = imageOf();
    const restarted: ImageSnapshot = { object: { ...image.object, status }, resolution: { state: 'Pending' } };
    assert.ok(plan({ ...snapshot, images: [restarted] }, NOW).actions.every(({ kind }) => kind !== 'WriteImageStatus'));
  });

  it('tells of a silent agent after some minutes, and wakes for it', () => {
    const os = nodeOSOf('a', { silent: true, rollout: { phase: 'Pending', phaseTime: '2026-11-23T11:59:00Z' } });
    const snapshot = snapshotOf({ nodes: [nodeOf('a')], nodeOSes: [os] });
    assert.equal(plan(snapshot, NOW).nextTime?.toISOString(), '2026-11-23T12:04:00.000Z');
    const later = plan(snapshot, new Date('2026-11-23T12:04:00Z')).actions.find(
      ({ kind }) => kind === 'WriteImageStatus',
    );
    assert.ok(later?.kind === 'WriteImageStatus' && later.status.blockers?.some(({ type }) => type === 'AgentSilent'));
  });

  it('says at once, in the words of the agent, what a host lacks that it cannot report', () => {
    const message = 'The host has no systemctl: it must.';
    const said = { result: 'Failed', reason: 'HostLacking', message, completionTime: SLOT } as const;
    const os = nodeOSOf('a', {
      silent: true,
      lastOrder: { id: NO_ORDER, ...said },
      rollout: { phase: 'Pending', message: 'Waits.' },
    });
    const { actions } = plan(snapshotOf({ nodes: [nodeOf('a')], nodeOSes: [os] }), NOW);
    const rollout = actions.find((action) => action.kind === 'WriteRollout');
    assert.ok(rollout?.kind === 'WriteRollout');
    assert.deepEqual([rollout.status.rollout.phase, rollout.status.rollout.message], ['Pending', message]);
    assert.ok(
      actions.every(({ kind }) => kind !== 'WriteOrder'),
      'an agent that can do nothing is asked for nothing',
    );
    const status = statusOf(snapshotOf({ nodes: [nodeOf('a')], nodeOSes: [os] }));
    const blocker = status.blockers?.find(({ node }) => node === 'a');
    assert.deepEqual([blocker?.type, blocker?.message], ['StagingFailed', `a: ${message}`]);
    assert.equal(status.nodes?.failed, 0, 'it has not failed for this image');
  });

  it('lists at most twenty blockers', () => {
    const nodes = Array.from({ length: 30 }, (_, index) => nodeOf(`n${index}`, { ready: false }));
    assert.equal(statusOf(snapshotOf({ nodes })).blockers?.length, 20);
  });
});
