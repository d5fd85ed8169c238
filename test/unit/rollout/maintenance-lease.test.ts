/** Whose turn a node is, among those who maintain it. */
import assert from 'node:assert/strict';
import type { RolloutStatus } from '../../../api/index.ts';
import type { Action } from '../../../operator/rollout/action.ts';
import { stageOrder } from '../../../operator/rollout/order.ts';
import { plan } from '../../../operator/rollout/plan.ts';
import type { LeaseSnapshot, NodeSnapshot, Snapshot } from '../../../operator/rollout/snapshot.ts';
import { NOW, imageOf, manifestOf, nodeOSOf, nodeOf, ourCordon, snapshotOf } from './fixtures.ts';

const TARGET = {
  digest: manifestOf('v2'),
  image: `ostree-unverified-registry:registry.example/os@${manifestOf('v2')}`,
};
const STAGE = stageOrder(TARGET, 0, 'boot-1');
const SLOT = '2026-11-23T11:58:00Z';
const WAITING = { phase: 'AwaitingSlot' } as const;
const GRANTED = { phase: 'Draining', slotTime: SLOT } as const;
const DRAINING = { ...GRANTED, drainStart: SLOT } as const;
const REBOOTING = { phase: 'Rebooting', slotTime: SLOT, preBootID: 'boot-1', phaseTime: SLOT } as const;

const minutes = (count: number) => new Date(NOW.getTime() + count * 60_000);

function leaseOf(holder: string, end: Date, durationSeconds = 3600): LeaseSnapshot {
  const object = 'Lease/medik8s-leases/node-a';
  return { resourceVersion: '7', object, holder, ours: holder === 'treeline', durationSeconds, end };
}

const OURS = leaseOf('treeline', minutes(45));
const THEIRS = leaseOf('node-maintenance', minutes(20));

interface Scene {
  readonly rollout: Partial<RolloutStatus>;
  readonly node?: Partial<NodeSnapshot>;
  readonly lease?: LeaseSnapshot;
  readonly booted?: string;
  readonly differences?: Partial<Snapshot>;
}

/** Node `a`, with another one beside it that is not of the OSImage. */
function scene({ rollout, node = {}, lease, booted = 'v1', differences = {} }: Scene): Snapshot {
  return snapshotOf({
    images: [imageOf({ selector: { matchLabels: { pool: 'a' } } })],
    nodes: [nodeOf('a', { labels: { pool: 'a' }, ...node }), nodeOf('refuge')],
    nodeOSes: [nodeOSOf('a', { staged: 'v2', booted, order: STAGE, rollout })],
    leases: new Map(lease === undefined ? [] : [['a', lease]]),
    ...differences,
  });
}

/** What is done to node `a`, but for what is said about it. */
function deeds(snapshot: Snapshot, now = NOW): readonly string[] {
  const about = plan(snapshot, now).actions.filter(
    (action) => 'node' in action && action.node === 'a' && action.kind !== 'DryRun',
  );
  return about.map(({ kind }) => kind);
}

function written(snapshot: Snapshot, now = NOW): RolloutStatus | undefined {
  const isWrite = (action: Action) => action.kind === 'WriteRollout' && action.name === 'a';
  const action = plan(snapshot, now).actions.find(isWrite);
  return action?.kind === 'WriteRollout' ? action.status.rollout : undefined;
}

function blockersOf(snapshot: Snapshot) {
  const action = plan(snapshot, NOW).actions.find(({ kind }) => kind === 'WriteImageStatus');
  return action?.kind === 'WriteImageStatus' ? (action.status.blockers ?? []) : [];
}

describe('A node that somebody else maintains', () => {
  it('gets no slot, and the blocker names who holds it, until when, and the Lease', () => {
    const snapshot = scene({ rollout: WAITING, lease: THEIRS });
    assert.equal(written(snapshot)?.slotTime, undefined);
    assert.deepEqual(
      blockersOf(snapshot).map(({ type, node, object, message }) => [type, node, object, message]),
      [
        [
          'MaintenanceLeaseHeld',
          'a',
          'Lease/medik8s-leases/node-a',
          'a is being maintained by node-maintenance (Lease/medik8s-leases/node-a until 2026-11-23T12:20:00Z), and gets no slot before that lease is given back or runs out; if nobody maintains it, delete the Lease.',
        ],
      ],
    );
    assert.deepEqual(plan(snapshot, NOW).nextTime, THEIRS.end);
  });

  it('gets one the moment that lease has run out, and without leases as ever', () => {
    const snapshot = scene({ rollout: WAITING, lease: THEIRS });
    assert.equal(written(snapshot, minutes(20))?.phase, 'Draining');
    const { leases: _, ...rest } = snapshot;
    assert.equal(written(rest)?.phase, 'Draining');
  });

  it('costs no write each time that a short lease is renewed', () => {
    const [one, two] = [20, 40].map((seconds) => {
      const lease = leaseOf('kured', new Date(NOW.getTime() + seconds * 1000), 60);
      return blockersOf(scene({ rollout: WAITING, lease }));
    });
    assert.match(one?.[0]?.message ?? '', /maintained by kured/);
    assert.deepEqual(one, two);
  });

  it('leaves the others their turns', () => {
    const { nodes, nodeOSes, dryRuns: _, ...rest } = scene({ rollout: WAITING, lease: THEIRS });
    const more = {
      nodes: [...nodes, nodeOf('b', { labels: { pool: 'a' } })],
      nodeOSes: [...nodeOSes, nodeOSOf('b', { staged: 'v2', order: STAGE, rollout: WAITING })],
    };
    const granted = plan(snapshotOf({ ...rest, ...more }), NOW).actions.flatMap((action) =>
      action.kind === 'WriteRollout' && action.status.rollout.slotTime !== undefined ? [action.name] : [],
    );
    assert.deepEqual(granted, ['b']);
  });

  it('is not the one that goes when every other drain would be refused and pods are deleted in the end', () => {
    const refusals = [{ namespace: 'shop', pod: 'web-0', message: 'no', since: NOW }];
    const drain = { timeoutAction: 'Delete', timeoutSeconds: 60 };
    const images = [imageOf({ selector: { matchLabels: { pool: 'a' } }, policy: { drain } })];
    const refused = { images, dryRuns: new Map([['a', { refusals }]]) };
    assert.equal(written(scene({ rollout: WAITING, lease: THEIRS, differences: refused }))?.slotTime, undefined);
    assert.notEqual(written(scene({ rollout: WAITING, differences: refused }))?.slotTime, undefined);
  });
});

describe('A node that holds a slot', () => {
  it('is held by a lease before it is cordoned, drained or marked', () => {
    assert.deepEqual(deeds(scene({ rollout: GRANTED })), ['TakeLease']);
    assert.deepEqual(deeds(scene({ rollout: GRANTED, lease: OURS })), ['Cordon']);
    assert.deepEqual(deeds(scene({ rollout: DRAINING, lease: OURS, node: ourCordon('a') })), ['Drain']);
    assert.deepEqual(deeds(scene({ rollout: DRAINING, node: ourCordon('a') })), ['TakeLease']);
    assert.deepEqual(deeds(scene({ rollout: DRAINING, node: { cordoned: true } })), ['TakeLease']);
  });

  it('takes over a lease that has run out, on the version that was seen', () => {
    const { actions } = plan(scene({ rollout: GRANTED, lease: leaseOf('gone', minutes(-1)) }), NOW);
    const taken = actions.filter(({ kind }) => kind === 'TakeLease');
    assert.deepEqual(taken, [{ kind: 'TakeLease', node: 'a', nodeUID: 'node-a', resourceVersion: '7' }]);
  });

  it('renews its lease when half of it is over, and not before', () => {
    const snapshot = scene({ rollout: DRAINING, lease: OURS, node: ourCordon('a') });
    assert.deepEqual(deeds(snapshot, minutes(14)), ['Drain']);
    assert.deepEqual(deeds(snapshot, minutes(15)), ['Drain', 'TakeLease']);
  });

  it('gives the slot back when somebody was quicker, before anything is done to the node', () => {
    const snapshot = scene({ rollout: GRANTED, lease: THEIRS });
    assert.deepEqual(deeds(snapshot), []);
    assert.deepEqual([written(snapshot)?.phase, written(snapshot)?.slotTime], ['AwaitingSlot', undefined]);
  });

  it('waits, with its cordon, while somebody else holds it after all, and says so', () => {
    const empty = new Map([['a', { podsLeft: 0, refusals: [] }]]);
    const snapshot = scene({
      rollout: DRAINING,
      lease: THEIRS,
      node: ourCordon('a'),
      differences: { drains: empty },
    });
    assert.deepEqual(deeds(snapshot), []);
    assert.equal(written(snapshot)?.phase, 'Draining');
    assert.match(written(snapshot)?.message ?? '', /waits until node-maintenance gives/);
    assert.match(blockersOf(snapshot)[0]?.message ?? '', /holds a slot and is being maintained by node-maintenance/);
    const mine = { ...snapshot, leases: new Map([['a', OURS]]) };
    assert.equal(written(mine)?.phase, 'Rebooting');
  });

  it('is not booted when its lease was lost before the approval', () => {
    const rollout = { ...REBOOTING, rebootDeadline: '2026-11-23T12:10:00Z' };
    const drains = new Map([['a', { podsLeft: 0, refusals: [] }]]);
    const next = (lease: LeaseSnapshot) =>
      written(scene({ rollout, lease, node: ourCordon('a'), differences: { drains } }))?.phase;
    assert.equal(next(OURS), 'Rebooting');
    assert.equal(next(THEIRS), 'Draining', 'everything is looked at again');
  });

  it('keeps its cordon while somebody else is at work under it', () => {
    const rollout = { phase: 'Soaking', slotTime: SLOT, healthySince: SLOT } as const;
    const soaked = (lease: LeaseSnapshot) => deeds(scene({ rollout, booted: 'v2', lease, node: ourCordon('a') }));
    assert.deepEqual(soaked(OURS), ['Uncordon']);
    assert.deepEqual(soaked(THEIRS), []);
  });
});

describe('The lease of a node', () => {
  const down = { ...ourCordon('a'), ready: false };
  const deadline = '2026-11-23T12:10:00Z';
  const rebooting = { ...REBOOTING, rebootDeadline: deadline };

  it('is ours while we boot the node, and is left to those who repair nodes once it is overdue', () => {
    const snapshot = scene({ rollout: rebooting, lease: OURS, node: down });
    assert.deepEqual(deeds(snapshot), []);
    assert.ok((plan(snapshot, NOW).nextTime ?? NOW) <= new Date(deadline));
    assert.deepEqual(deeds(snapshot, new Date(deadline)), ['GiveUpLease']);
  });

  it('is left to them when the node fails in the middle of its drain', () => {
    assert.deepEqual(
      deeds(scene({ rollout: DRAINING, lease: OURS, node: down })).filter((kind) => kind !== 'Drain'),
      ['GiveUpLease'],
    );
    assert.deepEqual(deeds(scene({ rollout: DRAINING, node: down })), []);
  });

  it('is given up once the slot is free and our cordon off, and not before', () => {
    const updated = { phase: 'Updated' } as const;
    const done = (node: Partial<NodeSnapshot>) => deeds(scene({ rollout: updated, booted: 'v2', lease: OURS, node }));
    assert.deepEqual(done({}), ['GiveUpLease']);
    assert.deepEqual(done(ourCordon('a')), ['Uncordon']);
  });

  it('of somebody else, or of a node that we have nothing to do with, is never touched', () => {
    const updated = { phase: 'Updated' } as const;
    assert.deepEqual(deeds(scene({ rollout: updated, booted: 'v2', lease: THEIRS })), []);
    const expired = leaseOf('gone', minutes(-1));
    assert.deepEqual(deeds(scene({ rollout: updated, booted: 'v2', lease: expired })), []);
  });

  it('is given up when its node is gone', () => {
    const snapshot = scene({ rollout: WAITING, lease: OURS, differences: { nodes: [nodeOf('refuge')], nodeOSes: [] } });
    assert.deepEqual(deeds(snapshot), ['GiveUpLease']);
  });
});
