import assert from 'node:assert/strict';
import type { NodeOS, OSImageStatus } from '../../../api/index.ts';
import { stageOrder } from '../../../operator/rollout/order.ts';
import { plan } from '../../../operator/rollout/plan.ts';
import type { ImageSnapshot, Snapshot } from '../../../operator/rollout/snapshot.ts';
import { estimatedEnd } from '../../../operator/rollout/time/estimate.ts';
import { keepsItsPromises } from './promises.ts';
import { NOW, digestOf, imageOf, manifestOf, nodeOSOf, nodeOf, snapshotOf } from './fixtures.ts';
import { World } from './world.ts';

const SINCE = new Date('2026-11-23T11:58:00Z');
const TARGET = manifestOf('v2');

/** A node that runs the target and took `seconds`, or one that waits for its slot. */
const done = (name: string, seconds: number) =>
  nodeOSOf(name, { booted: 'v2', rollout: { phase: 'Updated', digest: TARGET, lastUpdateSeconds: seconds } });
const IMAGE = `ostree-unverified-registry:registry.example/os@${TARGET}`;
const STAGE = stageOrder({ digest: TARGET, image: IMAGE }, 0, 'boot-1');
const waiting = (name: string) =>
  nodeOSOf(name, { staged: 'v2', order: STAGE, rollout: { phase: 'AwaitingSlot', digest: TARGET } });
const busy = (name: string) =>
  nodeOSOf(name, {
    staged: 'v2',
    rollout: { phase: 'Draining', digest: TARGET, slotTime: '2026-11-23T11:58:00Z' },
  });

function snapshotWith(image: ImageSnapshot, ...nodeOSes: readonly NodeOS[]): Snapshot {
  return snapshotOf({ images: [image], nodes: nodeOSes.map(({ metadata }) => nodeOf(metadata.name)), nodeOSes });
}

/** The status that is written at `now`, or what stands. */
function statusOf(snapshot: Snapshot, now = NOW): OSImageStatus {
  const write = plan(snapshot, now).actions.find((action) => action.kind === 'WriteImageStatus');
  return write?.status ?? snapshot.images[0]?.object.status ?? {};
}

function withStatus(image: ImageSnapshot, status: OSImageStatus): ImageSnapshot {
  return { ...image, object: { ...image.object, status } };
}

const conditionOf = (status: OSImageStatus, type: string) => status.conditions?.find((one) => one.type === type);
const minutesLater = (minutes: number) => new Date(NOW.getTime() + minutes * 60_000);

describe('The estimate of a rollout', () => {
  const work = { remaining: 10, atOnce: 2, pace: 300, since: SINCE };
  const end = (image: ImageSnapshot, differences: Partial<typeof work> = {}, now = NOW) =>
    estimatedEnd(image.object, { ...work, ...differences }, now)
      ?.toISOString()
      .replace('.000', '');
  const windows = (...list: readonly object[]) => imageOf({ policy: { windows: list } });

  it('adds up rounds of nodes and rounds up to five minutes', () => {
    assert.equal(end(imageOf()), '2026-11-23T12:25:00Z');
  });

  it('is the coarser the farther away it is', () => {
    assert.equal(end(imageOf(), { remaining: 1000, atOnce: 1 }), '2026-11-27T00:00:00Z');
    assert.equal(end(imageOf(), { remaining: 40, atOnce: 1 }), '2026-11-23T15:30:00Z');
  });

  it('counts whole rounds in windows only, and begins with the window that is open, not with what was before it', () => {
    const night = windows({ name: 'night', schedule: '0 22 * * *', durationSeconds: 1000 });
    // Three rounds fit into the first night, two are left for the second.
    assert.equal(end(night), '2026-11-25T00:00:00Z');
    const open = new Date('2026-11-23T22:05:00Z');
    assert.equal(end(night, { remaining: 4 }, open), '2026-11-23T22:10:00Z');
  });

  it('lets one round begin in each window when none is long enough', () => {
    const short = windows({ name: 'short', schedule: '0 22 * * *', durationSeconds: 120 });
    assert.equal(end(short, { remaining: 2, atOnce: 1 }), '2026-11-25T00:00:00Z');
  });

  it('leaves freezes out', () => {
    const freezes = [{ start: '2026-11-23T12:00:00Z', end: '2026-11-23T18:00:00Z', reason: 'sale' }];
    assert.equal(end(imageOf({ policy: { freezes } })), '2026-11-23T18:25:00Z');
  });

  it('is absent when no window ever opens, and when it is overdue', () => {
    assert.equal(end(windows({ name: 'never', schedule: '0 0 30 2 *', durationSeconds: 600 })), undefined);
    assert.equal(end(imageOf(), { remaining: 1, pace: 60 }, minutesLater(10)), undefined);
  });
});

describe('The progress of a rollout', () => {
  it('says what the median node took, and when the others will be done', () => {
    const nodes = [done('a', 100), done('b', 36_000), done('c', 240), waiting('d'), busy('e')];
    const { progress } = statusOf(snapshotWith(imageOf(), ...nodes));
    assert.deepEqual(progress, {
      percent: 60,
      lastProgressTime: '2026-11-23T12:00:00Z',
      secondsPerNode: 240,
      estimatedCompletionTime: '2026-11-23T12:10:00Z',
    });
  });

  it('estimates nothing before a node was measured, nor while paused', () => {
    assert.equal(statusOf(snapshotWith(imageOf(), waiting('a'))).progress?.estimatedCompletionTime, undefined);
    const paused = statusOf(snapshotWith(imageOf({ paused: true }), done('a', 60), waiting('b')));
    assert.equal(paused.progress?.estimatedCompletionTime, undefined);
  });

  it('is stalled after the deadline, says since when and what stands in the way, and recovers with progress', () => {
    const nodes = [done('a', 60), busy('b'), busy('c')];
    const image = imageOf({ rollout: { progressDeadlineSeconds: 600 } });
    const first = statusOf(snapshotWith(image, ...nodes));
    assert.equal(conditionOf(first, 'Stalled')?.status, 'False');
    const durable = withStatus(image, first);
    assert.equal(conditionOf(statusOf(snapshotWith(durable, ...nodes), minutesLater(9)), 'Stalled')?.status, 'False');
    const late = statusOf(snapshotWith(durable, ...nodes), minutesLater(10));
    const stalled = conditionOf(late, 'Stalled');
    assert.deepEqual([stalled?.status, stalled?.reason], ['True', 'ProgressDeadlineExceeded']);
    assert.match(stalled?.message ?? '', /since 2026-11-23T12:00:00Z, for longer than .* \(600\)/);
    assert.equal(conditionOf(late, 'Reconciling')?.status, 'False');
    assert.equal(conditionOf(late, 'Ready')?.reason, 'ProgressDeadlineExceeded');
    const moved = statusOf(
      snapshotWith(withStatus(image, late), done('a', 60), done('b', 600), busy('c')),
      minutesLater(11),
    );
    assert.equal(conditionOf(moved, 'Stalled')?.status, 'False');
    assert.equal(moved.progress?.lastProgressTime, '2026-11-23T12:11:00Z');
  });

  it('is not stalled while paused, and has its whole time again afterwards', () => {
    const nodes = [busy('a')];
    const running = imageOf({ rollout: { progressDeadlineSeconds: 600 } });
    const paused = imageOf({ paused: true, rollout: { progressDeadlineSeconds: 600 } });
    const held = statusOf(snapshotWith(withStatus(paused, statusOf(snapshotWith(running, ...nodes))), ...nodes));
    const long = statusOf(snapshotWith(withStatus(paused, held), ...nodes), minutesLater(60));
    assert.equal(conditionOf(long, 'Stalled')?.status, 'False');
    const again = statusOf(snapshotWith(withStatus(running, long), ...nodes), minutesLater(60));
    assert.equal(conditionOf(again, 'Stalled')?.status, 'False');
    assert.equal(again.progress?.lastProgressTime, '2026-11-23T13:00:00Z');
  });

  it('is not stalled by a budget of 0, nor by a window of staging that is closed', () => {
    const stalled = (image: ImageSnapshot, node: NodeOS) => {
      const durable = withStatus(image, statusOf(snapshotWith(image, node)));
      return conditionOf(statusOf(snapshotWith(durable, node), minutesLater(70)), 'Stalled')?.status;
    };
    const windows = [{ name: 'night', schedule: '0 22 * * *', durationSeconds: 7200, actions: ['Stage'] }];
    const pending = nodeOSOf('a', { rollout: { phase: 'Pending', digest: TARGET } });
    assert.equal(stalled(imageOf({ maxUnavailable: 0 }), waiting('a')), 'False');
    assert.equal(stalled(imageOf({ policy: { windows } }), pending), 'False');
    assert.equal(stalled(imageOf(), busy('a')), 'True');
  });

  it('lets a soak and a boot take the time that they were given', () => {
    const image = imageOf({ minReadySeconds: 7200, rollout: { progressDeadlineSeconds: 600 } });
    const soaking = nodeOSOf('a', {
      booted: 'v2',
      rollout: {
        phase: 'Soaking',
        digest: TARGET,
        slotTime: '2026-11-23T11:58:00Z',
        healthySince: '2026-11-23T12:00:00Z',
      },
    });
    const durable = withStatus(image, statusOf(snapshotWith(image, soaking)));
    const stalledAt = (minutes: number) =>
      conditionOf(statusOf(snapshotWith(durable, soaking), minutesLater(minutes)), 'Stalled')?.status;
    assert.deepEqual([stalledAt(60), stalledAt(129)], ['False', 'False']);
  });

  it('never costs a write of its own while a fleet is brought to the target', () => {
    const world = new World(7);
    world.addImage({ name: 'fleet', maxUnavailable: 2 });
    for (let index = 0; index < 6; index++) world.addNode(`node-${index}`);
    world.settle(keepsItsPromises);
    const status = world.images.get('fleet')?.status;
    assert.equal(status?.progress?.percent, 100);
    assert.ok((status.progress.secondsPerNode ?? 0) > 0);
    assert.equal(status.progress.estimatedCompletionTime, undefined);
  });
});

describe('The rest of a window', () => {
  const NOON = { name: 'noon', schedule: '0 11 * * *', durationSeconds: 7200 };
  const image = imageOf({ policy: { windows: [NOON] } });

  it('grants no slot when it is shorter than a node takes, and says so', () => {
    const snapshot = snapshotWith(image, done('a', 4000), waiting('b'));
    const { blockers, conditions } = statusOf(snapshot);
    assert.equal(blockers?.[0]?.type, 'WindowTooShort');
    assert.match(blockers[0].message, /about 67 minutes here, which is more than is left until 2026-11-23T13:00:00Z/);
    assert.equal(conditionOf({ conditions }, 'Ready')?.reason, 'WindowTooShort');
  });

  it('is looked at again in the moment in which it becomes too short', () => {
    // Somebody else's cordon spends the budget, so that nothing else happens meanwhile.
    const nodes = [nodeOf('a', { cordoned: true }), nodeOf('b')];
    const nodeOSes = [done('a', 1790), waiting('b')];
    const open = { ...snapshotWith(image, ...nodeOSes), nodes };
    const durable = { ...open, images: [withStatus(image, statusOf(open))] };
    const { nextTime } = plan(durable, new Date('2026-11-23T12:30:05Z'));
    assert.deepEqual(nextTime, new Date('2026-11-23T12:30:10.001Z'));
    assert.equal(statusOf(durable, new Date('2026-11-23T12:30:10Z')).blockers?.[0]?.type, 'BudgetSpent');
    assert.equal(statusOf(durable, nextTime).blockers?.[0]?.type, 'WindowTooShort');
  });

  it('is taken as it is when no window is ever long enough', () => {
    const snapshot = snapshotWith(image, done('a', 9000), waiting('b'));
    assert.equal(statusOf(snapshot).blockers?.[0]?.type, undefined);
  });
});

describe('The window that is shown', () => {
  const window = (windows: readonly object[], now = NOW) =>
    statusOf(snapshotWith(imageOf({ policy: { windows } }), waiting('a')), now).nextWindow;
  const NIGHT = { name: 'night', schedule: '0 22 * * *', durationSeconds: 7200 };

  it('is the next one, then the one that is open', () => {
    const shown = { name: 'night', start: '2026-11-23T22:00:00Z', end: '2026-11-24T00:00:00Z', actions: ['Reboot'] };
    assert.deepEqual(window([NIGHT]), shown);
    assert.deepEqual(window([NIGHT], new Date('2026-11-23T23:59:59Z')), shown);
    assert.equal(window([NIGHT], new Date('2026-11-24T00:00:00Z'))?.start, '2026-11-24T22:00:00Z');
  });

  it('has no end when none is in sight, and is absent when none ever opens', () => {
    assert.deepEqual(window([{ ...NIGHT, schedule: '* * * * *' }]), { name: 'night', actions: ['Reboot'] });
    assert.equal(window([{ ...NIGHT, schedule: '0 0 30 2 *' }]), undefined);
    assert.equal(window([]), undefined);
  });
});

describe('The history of rollouts', () => {
  it('keeps when each began and how it ended, newest first', () => {
    const begun = statusOf(snapshotWith(imageOf({ announced: false }), waiting('a')));
    assert.deepEqual(begun.history, [
      {
        digest: digestOf('v2'),
        version: 'v2',
        outcome: 'Progressing',
        startTime: '2026-11-23T12:00:00Z',
        nodesUpdated: 0,
        nodesFailed: 0,
      },
    ]);
    const over = statusOf(snapshotWith(withStatus(imageOf(), begun), done('a', 60)), minutesLater(5));
    const [entry] = over.history ?? [];
    assert.deepEqual(
      [entry?.outcome, entry?.completionTime, entry?.nodesUpdated],
      ['Succeeded', '2026-11-23T12:05:00Z', 1],
    );
    const next = statusOf(snapshotWith(withStatus(imageOf({ version: 'v3' }), over), done('a', 60)), minutesLater(9));
    assert.deepEqual(
      next.history?.map(({ version, outcome }) => [version, outcome]),
      [
        ['v3', 'Progressing'],
        ['v2', 'Succeeded'],
      ],
    );
    const changed = statusOf(
      snapshotWith(withStatus(imageOf({ version: 'v4' }), next), done('a', 60)),
      minutesLater(9),
    );
    assert.deepEqual(
      changed.history?.map(({ outcome }) => outcome),
      ['Progressing', 'Superseded', 'Succeeded'],
    );
    assert.equal(changed.history[1]?.completionTime, '2026-11-23T12:09:00Z');
  });

  it('says Halted while a node has failed', () => {
    const failed = nodeOSOf('a', { rollout: { phase: 'Failed', digest: TARGET, preBootID: 'boot-0' } });
    const { history } = statusOf(snapshotWith(imageOf(), failed));
    assert.deepEqual([history?.[0]?.outcome, history?.[0]?.nodesFailed], ['Halted', 1]);
  });

  it('is as long as revisionHistoryLimit says, also 0', () => {
    const entry = { outcome: 'Succeeded', startTime: '2026-11-01T00:00:00Z', nodesUpdated: 1, nodesFailed: 0 } as const;
    const history = ['x', 'y', 'z'].map((name) => ({ ...entry, digest: digestOf(name) }));
    const kept = (revisionHistoryLimit: number) => {
      const image = imageOf({ policy: { revisionHistoryLimit } });
      const status = { ...image.object.status, history };
      return statusOf(snapshotWith(withStatus(image, status), waiting('a'))).history?.length;
    };
    assert.deepEqual([kept(2), kept(20), kept(0)], [2, 4, undefined]);
  });
});
