/** Who goes first, by dry runs of their drains. */
import assert from 'node:assert/strict';
import { stageOrder } from '../../../operator/rollout/order.ts';
import { plan } from '../../../operator/rollout/plan.ts';
import type { DrainOrder, DryRunSnapshot, Snapshot } from '../../../operator/rollout/snapshot.ts';
import { NOW, imageOf, manifestOf, nodeOSOf, nodeOf, ourCordon, snapshotOf } from './fixtures.ts';

const TARGET = {
  digest: manifestOf('v2'),
  image: `ostree-unverified-registry:registry.example/os@${manifestOf('v2')}`,
};
const STAGE = stageOrder(TARGET, 0, 'boot-1');
const EVICT: DrainOrder = { mode: 'Evict', nameVolumes: true };
const MOVABLE: DryRunSnapshot = { how: EVICT, refusals: [] };
const WORDS = 'The disruption budget web needs 1 healthy pods and has 1 currently';
const REFUSED: DryRunSnapshot = {
  how: EVICT,
  refusals: [{ namespace: 'shop', pod: 'web-0', budget: 'web', message: WORDS, since: NOW }],
};

interface Scene {
  readonly heard: Readonly<Record<string, DryRunSnapshot | undefined>>;
  readonly drain?: Record<string, unknown>;
  readonly maxUnavailable?: number;
}

/** Nodes that wait for a slot, with what was heard about each. */
function scene({ heard, drain = {}, maxUnavailable = 1 }: Scene): Snapshot {
  const names = Object.keys(heard);
  const known = Object.entries(heard).flatMap(([name, dryRun]) => (dryRun ? [[name, dryRun] as const] : []));
  return snapshotOf({
    images: [imageOf({ maxUnavailable, policy: { drain } })],
    nodes: names.map((name) => nodeOf(name)),
    nodeOSes: names.map((name) => nodeOSOf(name, { staged: 'v2', order: STAGE, rollout: { phase: 'AwaitingSlot' } })),
    dryRuns: new Map(known),
  });
}

function outcome(snapshot: Snapshot) {
  const { actions } = plan(snapshot, NOW);
  const status = actions.find(({ kind }) => kind === 'WriteImageStatus');
  return {
    slots: actions.flatMap((one) =>
      one.kind === 'WriteRollout' && one.status.rollout.phase === 'Draining' ? [one.name] : [],
    ),
    tried: actions.flatMap((one) => (one.kind === 'DryRun' ? [one.node] : [])).sort(),
    blockers: status?.kind === 'WriteImageStatus' ? (status.status.blockers ?? []) : [],
    conditions: status?.kind === 'WriteImageStatus' ? (status.status.conditions ?? []) : [],
  };
}

describe('Before a node gets a slot', () => {
  it('its drain is tried, and nothing is cordoned meanwhile', () => {
    const { slots, tried } = outcome(scene({ heard: { a: undefined, b: undefined } }));
    assert.deepEqual(slots, []);
    assert.equal(tried.length, 1, 'no more are tried than could have a slot');
  });

  it('nothing is tried while there is no room for it', () => {
    const { nodes, nodeOSes } = scene({ heard: { a: undefined, b: REFUSED } });
    const held = nodeOSOf('c', {
      staged: 'v2',
      order: STAGE,
      rollout: { phase: 'Draining', slotTime: '2026-11-23T11:58:00Z' },
    });
    const full = { nodes: [...nodes, nodeOf('c', ourCordon('c'))], nodeOSes: [...nodeOSes, held] };
    assert.deepEqual(outcome(snapshotOf({ ...full, dryRuns: new Map([['b', REFUSED]]) })).tried, []);
  });

  it('those that can move now go first, whatever their turn', () => {
    for (const movable of ['a', 'b', 'c']) {
      const heard = { a: REFUSED, b: REFUSED, c: REFUSED, [movable]: MOVABLE };
      assert.deepEqual(outcome(scene({ heard })).slots, [movable]);
    }
  });

  it('the next in turn are tried as well once somebody was refused', () => {
    const heard = { a: REFUSED, b: undefined, c: undefined, d: undefined, e: undefined, f: undefined };
    assert.equal(outcome(scene({ heard })).tried.length, 4, 'one that could go, and three ahead');
  });

  it('the refusal is quoted word for word, with pod and budget, and is asked again', () => {
    const { slots, tried, blockers, conditions } = outcome(scene({ heard: { a: REFUSED, b: REFUSED } }));
    assert.deepEqual([slots, tried], [[], ['a', 'b']]);
    const [blocker] = blockers;
    assert.deepEqual([blocker?.type, blocker?.node, blocker?.object], ['DrainWouldBeRefused', 'a', 'Pod/shop/web-0']);
    assert.match(
      blocker?.message ?? '',
      /shop\/web-0 .*"The disruption budget web needs 1 .*PodDisruptionBudget shop\/web/,
    );
    assert.equal(conditions.find(({ type }) => type === 'DrainBlocked')?.status, 'True');
  });

  it('an answer counts only for the policy that it was asked for', () => {
    const drain = { emptyDirPolicy: 'Block' };
    const heard = { a: MOVABLE, z: MOVABLE };
    assert.deepEqual(outcome(scene({ heard, drain })).slots, []);
    assert.equal(outcome(scene({ heard })).slots.length, 1);
  });

  it('a pod that the policy keeps where it is holds it back, too', () => {
    const how = { ...EVICT, keepBarePods: true } as const;
    const kept = { how, refusals: [], holdouts: [{ namespace: 'shop', pod: 'debug', why: 'Bare' }] } as const;
    const given = { heard: { a: kept, z: { how, refusals: [] } }, drain: { barePodPolicy: 'Block' } };
    const { slots, blockers } = outcome(scene(given));
    assert.deepEqual(slots, ['z']);
    assert.match(blockers[0]?.message ?? '', /^a gets no slot yet, .*shop\/debug on a has no controller/);
    const forced = {
      ...given,
      heard: { a: kept },
      drain: { barePodPolicy: 'Block', timeoutAction: 'Delete', onlyNodePolicy: 'Evict' },
    };
    assert.deepEqual(outcome(scene(forced)).slots, [], 'not even deletion would remove it');
  });

  it('refused nodes go last, and do go, where their pods are deleted in the end', () => {
    const drain = { timeoutAction: 'Delete' };
    assert.deepEqual(outcome(scene({ heard: { a: REFUSED, b: MOVABLE }, drain })).slots, ['b']);
    assert.equal(outcome(scene({ heard: { a: REFUSED, b: REFUSED }, drain })).slots.length, 1);
    const never = { ...drain, timeoutSeconds: 0 };
    assert.deepEqual(outcome(scene({ heard: { a: REFUSED, b: REFUSED }, drain: never })).slots, []);
  });

  it('nothing is tried where nothing would be evicted', () => {
    const { slots, tried } = outcome(scene({ heard: { a: undefined } }));
    assert.deepEqual([slots, tried], [['a'], []], 'the only node');
    const none = outcome(scene({ heard: { a: undefined, b: undefined }, drain: { policy: 'None' } }));
    assert.deepEqual([none.slots.length, none.tried], [1, []]);
  });
});
