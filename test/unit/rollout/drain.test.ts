/** What `spec.drain` means for one node: whom it waits for, for how long, and what happens then. */
import assert from 'node:assert/strict';
import type { RolloutStatus } from '../../../api/index.ts';
import { stageOrder } from '../../../operator/rollout/order.ts';
import { plan } from '../../../operator/rollout/plan.ts';
import type { DrainSnapshot, NodeSnapshot, Snapshot } from '../../../operator/rollout/snapshot.ts';
import { NOW, imageOf, manifestOf, nodeOSOf, nodeOf, ourCordon, snapshotOf } from './fixtures.ts';

const TARGET = {
  digest: manifestOf('v2'),
  image: `ostree-unverified-registry:registry.example/os@${manifestOf('v2')}`,
};
const STAGE = stageOrder(TARGET, 0, 'boot-1');
const EVICT = { mode: 'Evict', nameVolumes: true } as const;
const START = '2026-11-23T11:00:00Z';
const REFUSAL = {
  namespace: 'shop',
  pod: 'web-0',
  budget: 'web',
  message: 'The disruption budget web needs 1 healthy pods and has 1 currently',
  since: new Date('2026-11-23T11:30:00Z'),
};

interface Scene {
  readonly drain?: Record<string, unknown>;
  readonly rollout?: Record<string, unknown>;
  readonly status?: Partial<RolloutStatus>;
  readonly look?: DrainSnapshot;
  readonly node?: Partial<NodeSnapshot>;
  readonly others?: readonly NodeSnapshot[];
  readonly now?: Date;
}

const REFUGE = nodeOf('refuge', { labels: { pool: 'other' } });

/** Node `a` in the middle of its drain, in a cluster with another node that is not of the OSImage. */
function scene({ drain = {}, rollout = {}, status, look, node, others = [REFUGE] }: Scene): Snapshot {
  const selector = { matchLabels: { pool: 'a' } };
  return snapshotOf({
    images: [imageOf({ selector, rollout, policy: { drain } })],
    nodes: [nodeOf('a', { labels: { pool: 'a' }, ...ourCordon('a'), ...node }), ...others],
    nodeOSes: [
      nodeOSOf('a', {
        staged: 'v2',
        order: STAGE,
        rollout: { phase: 'Draining', slotTime: START, drainStart: START, cordonOwned: true, ...status },
      }),
    ],
    drains: new Map(look ? [['a', look]] : []),
  });
}

function actionsOf(given: Scene) {
  return plan(scene(given), given.now ?? NOW).actions;
}

function rolloutOf(given: Scene): RolloutStatus {
  const write = actionsOf(given).find((action) => action.kind === 'WriteRollout');
  assert.ok(write, `nothing is written: ${JSON.stringify(actionsOf(given))}`);
  return write.status.rollout;
}

function drainOf(given: Scene) {
  const action = actionsOf(given).find(({ kind }) => kind === 'Drain');
  return action?.kind === 'Drain' ? action.how : undefined;
}

function blockersOf(given: Scene) {
  const write = actionsOf(given).find((action) => action.kind === 'WriteImageStatus');
  return write?.kind === 'WriteImageStatus' ? (write.status.blockers ?? []) : [];
}

const waiting: DrainSnapshot = { how: EVICT, podsLeft: 1, refusals: [REFUSAL] };

describe('A drain', () => {
  it('begins to count when the cordon is seen, and not anew when somebody lifts it', () => {
    assert.equal(rolloutOf({ status: { drainStart: undefined } }).drainStart, '2026-11-23T12:00:00Z');
    assert.equal(rolloutOf({ node: { cordoned: false } }).drainStart, START);
  });

  it('hands the policy on to the drainer', () => {
    const selector = { matchLabels: { app: 'store' } };
    const drain = {
      skipPodSelector: selector,
      waitForPodSelector: selector,
      emptyDirPolicy: 'Block',
      barePodPolicy: 'Block',
      gracePeriodSeconds: 7,
      volumeDetach: 'Ignore',
    };
    assert.deepEqual(drainOf({ drain: { timeoutSeconds: 7200, ...drain } }), {
      mode: 'Evict',
      skipPods: selector,
      awaitPods: selector,
      keepEmptyDirs: true,
      keepBarePods: true,
      gracePeriodSeconds: 7,
    });
  });

  it('is left to somebody else under policy None: no pod is asked to go, nor deleted when it is overdue, and an empty node boots', () => {
    const drain = { policy: 'None', timeoutSeconds: 60, timeoutAction: 'Delete' };
    const watch = { mode: 'Watch', nameVolumes: true } as const;
    assert.deepEqual(drainOf({ drain: { policy: 'None' } }), watch);
    const look = { how: watch, podsLeft: 1, refusals: [] };
    assert.deepEqual(drainOf({ drain, look }), watch);
    assert.equal(rolloutOf({ drain, look }).phase, 'Draining');
    assert.deepEqual(drainOf({ drain, look, others: [] }), watch, 'on the only node, too');
    assert.equal(rolloutOf({ drain, look: { ...look, podsLeft: 0 } }).phase, 'Rebooting');
    const node = { volumes: ['kubernetes.io/csi/d^moved'] };
    assert.equal(
      rolloutOf({ drain, look: { ...look, podsLeft: 0 }, node }).phase,
      'Draining',
      'Delete means nothing here',
    );
  });

  it('does not believe a look that was made by another policy', () => {
    const look = { how: { mode: 'Watch' }, podsLeft: 0, refusals: [] } as const;
    assert.equal(rolloutOf({ look }).phase, 'Draining');
    assert.equal(rolloutOf({ look: { ...look, how: EVICT } }).phase, 'Rebooting');
  });

  it('does not empty the only node of a cluster: its pods restart with it', () => {
    assert.deepEqual(drainOf({ others: [] }), { mode: 'Await' });
    const controlPlane = nodeOf('cp', { repels: ['node-role.kubernetes.io/control-plane=:NoSchedule'] });
    assert.deepEqual(drainOf({ others: [controlPlane] }), { mode: 'Await' }, 'its pods do not tolerate that taint');
    assert.deepEqual(drainOf({ others: [{ ...REFUGE, cordoned: true, ready: false }] }), EVICT, 'it will be back');
    assert.deepEqual(drainOf({ others: [{ ...REFUGE, deleting: true }] }), { mode: 'Await' }, 'it will not');
    assert.deepEqual(drainOf({ others: [], drain: { onlyNodePolicy: 'Evict' } }), EVICT);
  });

  it('waits for load balancers before the first eviction, and only then', () => {
    const drain = { loadBalancerWaitSeconds: 60 };
    const soon = new Date('2026-11-23T11:00:59Z');
    const look = { how: EVICT, podsLeft: 0, refusals: [] };
    assert.equal(drainOf({ drain, now: soon }), undefined);
    assert.match(
      rolloutOf({ drain, look, now: soon }).message ?? '',
      /load balancers; .* from 2026-11-23T11:01:00Z on/,
    );
    assert.deepEqual(drainOf({ drain, now: new Date('2026-11-23T11:01:00Z') }), EVICT);
    const cordon = actionsOf({ drain, node: { cordoned: false } }).find(({ kind }) => kind === 'Cordon');
    assert.deepEqual(cordon?.kind === 'Cordon' && cordon.marks, { slot: 'On', loadBalancers: true });
  });

  it('waits until the volumes of pods that left are detached, and not for those of pods that stay', () => {
    const look = { how: EVICT, podsLeft: 0, refusals: [], keptVolumes: ['kubernetes.io/csi/d^kept'] };
    const left = { volumes: ['kubernetes.io/csi/d^kept', 'kubernetes.io/csi/d^moved'] };
    assert.match(rolloutOf({ look, node: left }).message ?? '', /waits for volume kubernetes\.io\/csi\/d\^moved to/);
    assert.equal(rolloutOf({ look, node: { volumes: ['kubernetes.io/csi/d^kept'] } }).phase, 'Rebooting');
    const ignored = { ...look, how: { mode: 'Evict' } as const };
    assert.equal(rolloutOf({ drain: { volumeDetach: 'Ignore' }, look: ignored, node: left }).phase, 'Rebooting');
  });

  it('says when nobody on the node can confirm that its pods have ended', () => {
    const look = { how: EVICT, podsLeft: 2, refusals: [] };
    assert.match(rolloutOf({ look, node: { ready: false } }).message ?? '', /not Ready: nobody there can confirm/);
  });

  it('names a pod that is deleted and does not end, with its finalizers', () => {
    const holdout = { namespace: 'shop', pod: 'db-0', why: 'Stuck', since: NOW, finalizers: ['x/y'] } as const;
    const look: DrainSnapshot = { how: EVICT, podsLeft: 1, refusals: [], holdouts: [holdout] };
    const blocker = blockersOf({ look }).find(({ type }) => type === 'DrainHeldUp');
    assert.match(
      blocker?.message ?? '',
      /^Pod shop\/db-0 on a is deleted and does not end \(its finalizers are x\/y\)/,
    );
    assert.equal(blocker?.object, 'Pod/shop/db-0');
  });
});

describe('A drain that is overdue', () => {
  it('keeps its slot and goes on under Hold, and is named', () => {
    const given = { look: waiting };
    assert.equal(rolloutOf(given).phase, 'Draining');
    assert.deepEqual(drainOf(given), EVICT);
    const [first, second] = blockersOf(given);
    assert.deepEqual(
      [first?.type, first?.since, second?.type],
      ['DrainTimedOut', '2026-11-23T12:00:00Z', 'DrainRefused'],
    );
    assert.match(second?.message ?? '', /web-0 .*"The disruption budget web needs 1 healthy pods.*shop\/web room/);
  });

  it('is never overdue with a timeout of 0', () => {
    const later = new Date('2027-11-23T12:00:00Z');
    const types = blockersOf({ drain: { timeoutSeconds: 0 }, look: waiting, now: later }).map(({ type }) => type);
    assert.ok(!types.includes('DrainTimedOut'));
  });

  it('is passed over under Skip: the cordon is lifted, then the slot is free, and it rests longer each time', () => {
    const drain = { timeoutAction: 'Skip' };
    const given = rolloutOf({ drain, look: waiting });
    assert.deepEqual(
      [given.phase, given.slotTime, given.drainsGivenUp, given.nextAttemptTime],
      ['Blocked', START, 1, '2026-11-23T12:05:00Z'],
    );
    assert.match(given.message ?? '', /^Was not empty by 2026-11-23T12:00:00Z .*needs 1 healthy pods/);
    assert.ok(actionsOf({ drain, status: given }).some(({ kind }) => kind === 'Uncordon'));
    const free = { cordoned: false, marked: false, cordonedBy: undefined } as never;
    assert.equal(rolloutOf({ drain, status: given, node: free }).slotTime, undefined);
    assert.equal(
      rolloutOf({ drain, look: waiting, status: { drainsGivenUp: 1 } }).nextAttemptTime,
      '2026-11-23T12:10:00Z',
    );
    const most = rolloutOf({ drain, look: waiting, status: { drainsGivenUp: 30 } });
    assert.equal(most.nextAttemptTime, '2026-11-23T13:00:00Z');
  });

  it('has its pods deleted under Delete, and no longer waits for volumes', () => {
    assert.deepEqual(drainOf({ drain: { timeoutAction: 'Delete' }, look: waiting }), { mode: 'Delete' });
    const look = { how: { mode: 'Delete' }, podsLeft: 0, refusals: [] } as const;
    assert.equal(rolloutOf({ drain: { timeoutAction: 'Delete' }, look, node: { volumes: ['v'] } }).phase, 'Rebooting');
  });

  it('says which right is missing when the operator may not delete', () => {
    const refusal = { ...REFUSAL, message: 'pods "web-0" is forbidden', deletion: true } as const;
    const look = { how: { mode: 'Delete' }, podsLeft: 1, refusals: [refusal] } as const;
    const blocker = blockersOf({ drain: { timeoutAction: 'Delete' }, look }).find(
      ({ type }) => type === 'DrainRefused',
    );
    assert.match(blocker?.message ?? '', /may not be deleted .*apply manifests\/optional\/operator-deletes-pods\.yaml/);
  });

  it('ends as any other when its pods leave in the last moment', () => {
    const look = { how: EVICT, podsLeft: 0, refusals: [] };
    assert.equal(rolloutOf({ drain: { timeoutAction: 'Skip' }, look }).phase, 'Rebooting');
  });
});

describe('Nodes that were passed over', () => {
  const blocked = { phase: 'Blocked', drainsGivenUp: 1, nextAttemptTime: '2026-11-23T12:05:00Z' } as const;
  const fleet = (count: number, rollout: object, now: Date = NOW) => {
    const names = Array.from({ length: count }, (_, index) => `b${index}`);
    const snapshot = snapshotOf({
      images: [imageOf({ maxUnavailable: 1, rollout: { ...rollout } })],
      nodes: [...names, 'z'].map((name) => nodeOf(name)),
      nodeOSes: [
        ...names.map((name) => nodeOSOf(name, { staged: 'v2', order: STAGE, rollout: blocked })),
        nodeOSOf('z', { staged: 'v2', order: STAGE, rollout: { phase: 'AwaitingSlot' } }),
      ],
    });
    const { actions } = plan(snapshot, now);
    const slots = actions.flatMap((one) =>
      one.kind === 'WriteRollout' && one.status.rollout.phase === 'Draining' ? [one.name] : [],
    );
    const status = actions.find(({ kind }) => kind === 'WriteImageStatus');
    return { slots, status: status?.kind === 'WriteImageStatus' ? status.status : undefined };
  };

  it('let the others go on, up to maxBlocked', () => {
    const { slots, status } = fleet(2, { maxBlocked: 2 });
    assert.deepEqual(slots, ['z']);
    assert.equal(status?.nodes?.blocked, 2);
    assert.deepEqual(fleet(1, {}).slots, ['z'], 'the default lets one of a small fleet be passed over');
  });

  it('stop the others when they are more, and say so once', () => {
    const { slots, status } = fleet(3, { maxBlocked: 2 });
    assert.deepEqual(slots, []);
    const blockers = status?.blockers?.filter(({ type }) => type === 'TooManyBlocked') ?? [];
    assert.equal(blockers.length, 1);
    assert.match(
      blockers[0]?.message ?? '',
      /^b0, b1, b2 were not empty, or their gates not open, in time, and at most 2 nodes may be/,
    );
  });

  it('are tried again when they have rested, also when there are too many of them', () => {
    assert.deepEqual(fleet(1, { maxBlocked: 0 }).slots, []);
    assert.deepEqual(fleet(1, { maxBlocked: 0 }, new Date('2026-11-23T12:05:00Z')).slots, ['b0']);
  });
});
