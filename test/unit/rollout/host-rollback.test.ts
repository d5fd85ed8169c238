import assert from 'node:assert/strict';
import type { RolloutStatus } from '../../../api/index.ts';
import { bootOrder, observeOrder } from '../../../operator/rollout/order.ts';
import { plan } from '../../../operator/rollout/plan.ts';
import { imageOf, manifestOf, nodeOf, nodeOSOf, NOW, ourCordon, snapshotOf } from './fixtures.ts';
import type { NodeOSOptions } from './fixtures.ts';

const POLICY = { deadlineSeconds: 600, units: ['kubelet.service'] };
const TARGET = {
  digest: manifestOf('v2'),
  image: `ostree-unverified-registry:registry.example/os@${manifestOf('v2')}`,
  hostRollback: POLICY,
};
const FLIGHT = {
  slotTime: '2026-11-23T11:58:00Z',
  preBootID: 'boot-1',
  rebootDeadline: '2026-11-23T12:10:00Z',
  digest: TARGET.digest,
};
const REBOOTING = { ...FLIGHT, phase: 'Rebooting', phaseTime: '2026-11-23T11:59:00Z' } as const;
const BOOT = bootOrder(TARGET, REBOOTING);
assert.ok(BOOT);
const order = BOOT;

/** What is written about a node that is in its slot. */
function rolloutOf(os: NodeOSOptions): RolloutStatus | undefined {
  const snapshot = snapshotOf({
    images: [imageOf({ policy: { health: { hostRollback: POLICY } } })],
    nodes: [nodeOf('a', ourCordon('a'))],
    nodeOSes: [nodeOSOf('a', { order, ...os })],
  });
  const write = plan(snapshot, NOW).actions.find(({ kind }) => kind === 'WriteRollout');
  return write?.kind === 'WriteRollout' ? write.status.rollout : undefined;
}

describe('A host that may go back by itself', () => {
  it('is told so with the order to boot, and with no other', () => {
    assert.deepEqual(order.hostRollback, POLICY);
    const snapshot = snapshotOf({
      images: [imageOf({ policy: { health: { hostRollback: POLICY } } })],
      nodes: [nodeOf('a', ourCordon('a'))],
      drains: new Map([['a', { podsLeft: 0, refusals: [] }]]),
    });
    let os = nodeOSOf('a', { staged: 'v2', rollout: REBOOTING });
    const next = () => plan({ ...snapshot, nodeOSes: [os] }, NOW).actions;
    const noted = next().find(({ kind }) => kind === 'WriteRollout');
    assert.ok(noted?.kind === 'WriteRollout');
    os = { ...os, status: { ...os.status, ...noted.status, conditions: [...noted.status.conditions] } };
    const written = next().find(({ kind }) => kind === 'WriteOrder');
    assert.deepEqual(written?.kind === 'WriteOrder' && written.spec.order, order);
  });

  it('is not taken for healthy while it is on trial, Ready as it may be', () => {
    const back = { booted: 'v2', bootID: 'boot-2' } as const;
    const trial = { host: { trial: { deadlineSeconds: 600 } } };
    const rollout = rolloutOf({ ...back, ...trial, rollout: REBOOTING });
    assert.equal(rollout?.phase, 'Verifying');
    const proving = rolloutOf({
      ...back,
      ...trial,
      rollout: { ...FLIGHT, phase: 'Verifying', phaseTime: '2026-11-23T11:59:00Z' },
    });
    assert.match(
      proving?.message ?? '',
      /waits for its host to prove itself: it goes back 600 s after its kernel started/,
    );
    assert.equal(rolloutOf({ ...back, rollout: { ...FLIGHT, ...proving, phase: 'Verifying' } })?.phase, 'Soaking');
  });

  it('that is on trial for longer than it can be is Failed, and keeps its slot', () => {
    const rollout = {
      ...FLIGHT,
      phase: 'Verifying',
      phaseTime: FLIGHT.slotTime,
      backTime: '2026-11-23T11:00:00Z',
    } as const;
    const overdue = rolloutOf({
      booted: 'v2',
      bootID: 'boot-2',
      host: { trial: { deadlineSeconds: 600 } },
      order: observeOrder(TARGET),
      rollout,
    });
    assert.equal(overdue?.phase, 'Failed');
    assert.equal(overdue.slotTime, FLIGHT.slotTime);
    assert.match(overdue.message ?? '', /not healthy by 2026-11-23T11:40:00Z/);
  });

  it('that has gone back is Failed with what the host says of it, whether the agent has answered or not', () => {
    const fallback = {
      checksum: 'c2',
      digest: TARGET.digest,
      reason: 'UnitFailed',
      message: 'the unit kubelet.service had failed 60 s after the kernel started',
    } as const;
    const gone = { bootID: 'boot-3', host: { fallback } };
    const phases: readonly Partial<RolloutStatus>[] = [
      REBOOTING,
      { ...FLIGHT, phase: 'Verifying', phaseTime: '2026-11-23T11:59:30Z', backTime: '2026-11-23T11:59:30Z' },
    ];
    for (const rollout of phases) {
      const failed = rolloutOf({ ...gone, rollout });
      assert.equal(failed?.phase, 'Failed');
      assert.match(failed.message ?? '', /went back by itself: the unit kubelet\.service had failed/);
    }
  });

  it('that could not finalise what was staged is told so with what to do, and stages again', () => {
    const finalizationFailure = { bootID: 'boot-1', message: 'no space; /boot is full: look at it' };
    const events = (failure: typeof finalizationFailure) => {
      const os = { order, bootID: 'boot-2', host: { finalizationFailure: failure }, rollout: REBOOTING };
      const nodes = [nodeOf('a', ourCordon('a'))];
      const { actions } = plan(snapshotOf({ images: [imageOf()], nodes, nodeOSes: [nodeOSOf('a', os)] }), NOW);
      return actions.map((action) => (action.kind === 'Emit' ? `${action.reason}: ${action.message}` : '')).join('\n');
    };
    assert.match(events(finalizationFailure), /^FinalizationFailed: .*\/boot is full: look at it/m);
    assert.match(events({ ...finalizationFailure, bootID: 'boot-0' }), /^StagedLost/m);
  });
});
