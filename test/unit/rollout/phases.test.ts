import assert from 'node:assert/strict';
import { toTimestamp } from '../../../api/index.ts';
import type { NodeOS, RolloutStatus } from '../../../api/index.ts';
import type { Action } from '../../../operator/rollout/action.ts';
import { MAX_ATTEMPTS, restSeconds } from '../../../operator/rollout/backoff.ts';
import { bootOrder, stageOrder } from '../../../operator/rollout/order.ts';
import { plan } from '../../../operator/rollout/plan.ts';
import type { DrainSnapshot, NodeSnapshot, Snapshot } from '../../../operator/rollout/snapshot.ts';
import { NOW, imageOf, manifestOf, nodeOSOf, nodeOf, ourCordon, snapshotOf } from './fixtures.ts';
import type { NodeOSOptions } from './fixtures.ts';

const TARGET = {
  digest: manifestOf('v2'),
  image: `ostree-unverified-registry:registry.example/os@${manifestOf('v2')}`,
};
const STAGE = stageOrder(TARGET, 0, 'boot-1');
const SLOT = '2026-11-23T11:58:00Z';
const DEADLINE = '2026-11-23T12:10:00Z';
const FLIGHT = { slotTime: SLOT, preBootID: 'boot-1', rebootDeadline: DEADLINE, digest: TARGET.digest };
const REBOOTING = { ...FLIGHT, phase: 'Rebooting', phaseTime: '2026-11-23T11:59:00Z' } as const;
const boot = bootOrder(TARGET, REBOOTING);
assert.ok(boot);
const BOOT = boot;
const EMPTY: DrainSnapshot = { podsLeft: 0, refusals: [] };

interface Scene {
  readonly os?: NodeOSOptions;
  readonly node?: Partial<NodeSnapshot>;
  readonly drain?: DrainSnapshot;
  readonly image?: Parameters<typeof imageOf>[0];
  readonly now?: Date;
}

function scene({ os, node, drain, image }: Scene): Snapshot {
  return snapshotOf({
    images: [imageOf(image)],
    nodes: [nodeOf('a', node)],
    nodeOSes: os === undefined ? [] : [nodeOSOf('a', os)],
    drains: new Map(drain ? [['a', drain]] : []),
  });
}

/** The actions about nodes: what the planner does, without what it says about the OSImage. */
function deeds(given: Scene): readonly Action[] {
  return plan(scene(given), given.now ?? NOW).actions.filter(
    ({ kind }) => kind !== 'WriteImageStatus' && kind !== 'Emit',
  );
}

function rolloutOf(given: Scene): RolloutStatus {
  const write = deeds(given).find((action) => action.kind === 'WriteRollout');
  assert.ok(write, `nothing is written about the node: ${JSON.stringify(deeds(given))}`);
  return write.status.rollout;
}

/** Plays the writes of `given` back until the node's status stands still; returns the last deeds and the object. */
function settled(given: Scene): { readonly deeds: readonly Action[]; readonly os: NodeOS } {
  const snapshot = scene(given);
  let [os] = snapshot.nodeOSes;
  for (let round = 0; round < 10; round++) {
    assert.ok(os);
    const actions = plan({ ...snapshot, nodeOSes: [os] }, given.now ?? NOW).actions;
    const write = actions.find(({ kind }) => kind === 'WriteRollout' || kind === 'WriteOrder');
    if (write?.kind === 'WriteRollout')
      os = { ...os, status: { ...os.status, ...write.status, conditions: [...write.status.conditions] } };
    else if (write?.kind === 'WriteOrder') os = { ...os, spec: write.spec };
    else return { deeds: actions, os };
  }
  return assert.fail('the status does not stand still');
}

describe('A node in the rollout', () => {
  it('gets a NodeOS of its own when it is selected', () => {
    assert.deepEqual(deeds({}), [{ kind: 'CreateNodeOS', node: 'a', nodeUID: 'node-a', imageName: 'fleet' }]);
  });

  it('is Pending until its agent has reported the host, and gets no order before', () => {
    assert.equal(rolloutOf({ os: { silent: true } }).phase, 'Pending');
    assert.equal(settled({ os: { silent: true } }).os.spec.order, undefined);
  });

  it('that runs the target already is Updated without ever holding a slot', () => {
    const { os } = settled({ os: { booted: 'v2' } });
    assert.equal(os.status?.rollout?.phase, 'Updated');
    assert.equal(os.status?.rollout?.slotTime, undefined);
    assert.equal(os.spec.order?.goal, 'Observe');
  });

  it('is ordered to stage the digest of its own architecture, with the tag left out', () => {
    const { os } = settled({ os: {}, node: { architecture: 'arm64' } });
    assert.equal(os.spec.order?.goal, 'Stage');
    assert.equal(os.spec.order?.digest, manifestOf('v2', 'arm64'));
    assert.ok(os.spec.order?.image.endsWith(`os@${manifestOf('v2', 'arm64')}`));
  });

  it('rests after a failed staging, is ordered anew under another id, and fails after enough attempts', () => {
    const failure = { result: 'Failed', reason: 'Unreachable', message: 'No route.', completionTime: SLOT } as const;
    const first = settled({
      os: { rollout: { phase: 'Staging', stagingTime: SLOT }, order: STAGE, lastOrder: { id: STAGE.id, ...failure } },
    });
    const { rollout } = first.os.status ?? {};
    assert.equal(rollout?.attempts, 1);
    assert.equal(rollout.stagingTime, undefined, 'its place is free');
    assert.equal(rollout.nextAttemptTime, toTimestamp(new Date(NOW.getTime() + restSeconds(1) * 1000)));
    assert.equal(first.os.spec.order?.id, STAGE.id, 'the failed order stands while the failure rests');
    const later = new Date(rollout.nextAttemptTime);
    const again = settled({ os: { rollout, order: STAGE, lastOrder: { id: STAGE.id, ...failure } }, now: later });
    assert.notEqual(again.os.spec.order?.id, STAGE.id);

    const last = stageOrder(TARGET, MAX_ATTEMPTS - 1, 'boot-1');
    const given: NodeOSOptions = {
      rollout: { phase: 'Staging', stagingTime: SLOT, attempts: MAX_ATTEMPTS - 1 },
      order: last,
      lastOrder: { id: last.id, ...failure },
    };
    assert.equal(rolloutOf({ os: given }).phase, 'Failed');
    const other = settled({
      os: { ...given, rollout: { phase: 'Failed', attempts: MAX_ATTEMPTS } },
      image: { version: 'v3' },
    });
    assert.equal(other.os.status?.rollout?.attempts, undefined, 'another target starts over');
    assert.equal(other.os.spec.order?.digest, manifestOf('v3'));
  });

  it('gets its slot written down before it is cordoned, and its cordon seen before it is drained', () => {
    const waiting: NodeOSOptions = { staged: 'v2', order: STAGE, rollout: { phase: 'AwaitingSlot' } };
    const grant = deeds({ os: waiting });
    assert.deepEqual(
      grant.map(({ kind }) => kind),
      ['WriteRollout'],
    );
    const rollout = rolloutOf({ os: waiting });
    assert.equal(rollout.phase, 'Draining');
    assert.equal(rollout.slotTime, toTimestamp(NOW));
    const kinds = (node: Partial<NodeSnapshot>) =>
      settled({ os: { ...waiting, rollout }, node }).deeds.map(({ kind }) => kind);
    assert.ok(kinds({}).includes('Cordon') && !kinds({}).includes('Drain'));
    assert.ok(kinds(ourCordon('a')).includes('Drain') && !kinds(ourCordon('a')).includes('Cordon'));
  });

  it('is cordoned again when somebody lifts the cordon in the middle of the drain', () => {
    const os: NodeOSOptions = { staged: 'v2', order: STAGE, rollout: { phase: 'Draining', slotTime: SLOT } };
    const lifted = deeds({ os, node: { cordoned: false, cordonedBy: 'nos-a' }, drain: EMPTY });
    assert.deepEqual(
      lifted.filter(({ kind }) => kind === 'Cordon'),
      [{ kind: 'Cordon', node: 'a', by: 'nos-a', marks: { slot: 'On' } }],
    );
    assert.ok(lifted.every((action) => action.kind !== 'WriteRollout' || action.status.rollout.phase === 'Draining'));
  });

  it('has boot ID and deadline written down before the boot is approved, for exactly that time and digest', () => {
    const os: NodeOSOptions = { staged: 'v2', order: STAGE, rollout: { phase: 'Draining', slotTime: SLOT } };
    const given = { os, node: ourCordon('a'), drain: EMPTY };
    assert.ok(deeds(given).every(({ kind }) => kind !== 'WriteOrder'));
    const rollout = rolloutOf(given);
    assert.equal(rollout.phase, 'Rebooting');
    assert.equal(rollout.preBootID, 'boot-1');
    const { order } = settled({ ...given, os: { ...os, rollout } }).os.spec;
    assert.deepEqual(order?.bootApproval, {
      digest: TARGET.digest,
      notBefore: rollout.phaseTime,
      notAfter: rollout.rebootDeadline,
    });
  });

  it('that is NotReady is never approved, however empty it is', () => {
    const os: NodeOSOptions = { staged: 'v2', order: STAGE, rollout: { phase: 'Draining', slotTime: SLOT } };
    assert.equal(rolloutOf({ os, node: { ...ourCordon('a'), ready: false }, drain: EMPTY }).phase, 'Draining');
  });

  it('back on the target is verified, soaks, and frees its slot only when the uncordon is seen', () => {
    const back: NodeOSOptions = { booted: 'v2', bootID: 'boot-2', order: BOOT, rollout: REBOOTING };
    const unready = { ...ourCordon('a'), ready: false };
    const verified = rolloutOf({ os: back, node: unready });
    assert.equal(verified.phase, 'Verifying');
    const verifying: NodeOSOptions = { ...back, rollout: verified };
    const soaking = rolloutOf({ os: verifying, node: ourCordon('a'), image: { minReadySeconds: 60 } });
    assert.equal(soaking.phase, 'Soaking');
    assert.equal(rolloutOf({ os: back, node: ourCordon('a') }).phase, 'Soaking', 'Ready already, it costs no phase');
    const image = { minReadySeconds: 60 };
    const early = settled({ os: { ...back, rollout: soaking }, node: ourCordon('a'), image });
    assert.ok(!early.deeds.some(({ kind }) => kind === 'Uncordon'));
    const late = new Date(NOW.getTime() + 60_000);
    const done = settled({ os: { ...back, rollout: soaking }, node: ourCordon('a'), image, now: late });
    assert.ok(done.deeds.some(({ kind }) => kind === 'Uncordon'));
    assert.equal(done.os.status?.rollout?.slotTime, SLOT);
    const free = rolloutOf({ os: { ...back, rollout: soaking }, image, now: late });
    assert.equal(free.phase, 'Updated');
    assert.equal(free.slotTime, undefined);
  });

  it('is not taken for Ready by what the kubelet said before the boot', () => {
    const back: NodeOSOptions = { booted: 'v2', bootID: 'boot-2', order: BOOT, rollout: REBOOTING };
    const old = { ...ourCordon('a'), bootID: 'boot-1' };
    assert.equal(rolloutOf({ os: back, node: old }).phase, 'Verifying');
    const late: NodeOSOptions = { ...back, rollout: { ...REBOOTING, phase: 'Failed' } };
    const past = new Date(Date.parse(DEADLINE) + 1000);
    assert.equal(rolloutOf({ os: late, node: old, now: past }).phase, 'Failed');
    assert.equal(rolloutOf({ os: back, node: { ...old, bootID: 'boot-2' } }).phase, 'Soaking');
  });

  it('that lost what was staged before it was ever tried is staged again, a bounded number of times', () => {
    const back: NodeOSOptions = { bootID: 'boot-2', order: BOOT, rollout: REBOOTING, rollback: 'v0' };
    const again = settled({ os: back, node: ourCordon('a') }).os;
    assert.equal(again.status?.rollout?.phase, 'Staging');
    assert.equal(again.status?.rollout?.attempts, 1);
    assert.equal(again.spec.order?.goal, 'Stage');
    const often = settled({ os: { ...back, rollout: { ...REBOOTING, attempts: 5 } }, node: ourCordon('a') }).os;
    assert.equal(often.status?.rollout?.phase, 'Failed');
  });

  it('that came back on another digest has failed, is not sent again, and has our cordon lifted', () => {
    const back: NodeOSOptions = { bootID: 'boot-2', order: BOOT, rollout: REBOOTING, rollback: 'v2' };
    const { os, deeds: last } = settled({ os: back, node: ourCordon('a') });
    assert.equal(os.status?.rollout?.phase, 'Failed');
    assert.match(os.status?.rollout?.message ?? '', /came back on sha256:/);
    assert.equal(os.spec.order?.goal, 'Discard');
    assert.ok(last.some(({ kind }) => kind === 'Uncordon'));
    const after = settled({
      os: {
        ...back,
        ...(os.status?.rollout && { rollout: os.status.rollout }),
        ...(os.spec.order && { order: os.spec.order }),
      },
    });
    assert.equal(after.os.status?.rollout?.phase, 'Failed');
    assert.equal(after.os.status?.rollout?.slotTime, undefined);
  });

  it('that misses its deadline fails, keeps slot and cordon, and recovers when it comes back on the target', () => {
    const now = new Date(DEADLINE);
    const node = { ...ourCordon('a'), ready: false };
    const missing: NodeOSOptions = { staged: 'v2', order: BOOT, rollout: REBOOTING };
    const failed = settled({ os: missing, node, now });
    assert.equal(failed.os.status?.rollout?.phase, 'Failed');
    assert.equal(failed.os.status?.rollout?.slotTime, SLOT);
    assert.ok(!failed.deeds.some(({ kind }) => kind === 'Uncordon'));
    const rollout = { ...REBOOTING, phase: 'Failed' } as const;
    assert.equal(
      rolloutOf({ os: { booted: 'v2', bootID: 'boot-2', order: BOOT, rollout }, node: ourCordon('a'), now }).phase,
      'Soaking',
    );
  });

  it('whose agent refused an expired approval gets a fresh one, after a rest and a new look at the drain', () => {
    const refused = {
      id: BOOT.id,
      result: 'Refused',
      reason: 'ApprovalExpired',
      message: 'Too late.',
      completionTime: DEADLINE,
    } as const;
    const os: NodeOSOptions = {
      staged: 'v2',
      order: BOOT,
      lastOrder: refused,
      rollout: { ...REBOOTING, phase: 'Failed' },
    };
    const awaiting = settled({ os, node: ourCordon('a'), drain: EMPTY });
    assert.equal(awaiting.os.status?.rollout?.phase, 'AwaitingGate');
    assert.equal(awaiting.os.spec.order?.goal, 'Stage', 'the old approval is withdrawn');
    const rollout = awaiting.os.status?.rollout;
    const now = new Date(rollout?.nextAttemptTime ?? 0);
    const fresh = settled({
      os: { staged: 'v2', order: awaiting.os.spec.order, ...(rollout && { rollout }) },
      node: ourCordon('a'),
      drain: EMPTY,
      now,
    });
    assert.equal(fresh.os.spec.order?.bootApproval?.notBefore, toTimestamp(now));
    assert.notEqual(fresh.os.spec.order?.id, BOOT.id);
    assert.equal(fresh.os.status?.rollout?.slotTime, SLOT);
  });

  it('with a live approval loses it before anything else when the target changes, and its slot only when it has answered', () => {
    const os: NodeOSOptions = { staged: 'v2', order: BOOT, rollout: REBOOTING };
    const image = { version: 'v3' };
    const [first] = deeds({ os, node: ourCordon('a'), image });
    assert.ok(first?.kind === 'WriteOrder');
    const order = first.spec.order;
    assert.equal(order?.goal, 'Observe', 'no node fetches before it has a place for it');
    assert.equal(order.digest, manifestOf('v3'));
    const waiting = settled({ os: { ...os, order }, node: ourCordon('a'), image });
    assert.equal(waiting.os.status?.rollout?.phase, 'Rebooting');
    const answered = {
      id: order.id,
      result: 'Succeeded',
      reason: 'Observed',
      message: '',
      completionTime: SLOT,
    } as const;
    const released = settled({ os: { ...os, order, lastOrder: answered }, node: ourCordon('a'), image });
    assert.equal(released.os.status?.rollout?.phase, 'Staging');
    assert.ok(released.deeds.some(({ kind }) => kind === 'Uncordon'));
  });

  it('that is drained for an old target is let go, and staged anew', () => {
    const os: NodeOSOptions = { staged: 'v2', order: STAGE, rollout: { phase: 'Draining', slotTime: SLOT } };
    const { os: after, deeds: last } = settled({ os, node: ourCordon('a'), image: { version: 'v3' } });
    assert.equal(after.status?.rollout?.phase, 'Staging');
    assert.equal(after.spec.order?.digest, manifestOf('v3'));
    assert.ok(last.some(({ kind }) => kind === 'Uncordon'));
  });

  it('finishes its slot while the rollout is paused', () => {
    const os: NodeOSOptions = { staged: 'v2', order: STAGE, rollout: { phase: 'Draining', slotTime: SLOT } };
    assert.equal(rolloutOf({ os, node: ourCordon('a'), drain: EMPTY, image: { paused: true } }).phase, 'Rebooting');
  });
});
