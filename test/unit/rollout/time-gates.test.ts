import assert from 'node:assert/strict';
import type { NodeOS } from '../../../api/index.ts';
import type { Action } from '../../../operator/rollout/action.ts';
import { bootOrder, stageOrder } from '../../../operator/rollout/order.ts';
import { plan } from '../../../operator/rollout/plan.ts';
import type { ImageSnapshot } from '../../../operator/rollout/snapshot.ts';
import { mayRebootNow, mayStageNow } from '../../../operator/rollout/time/time-gates.ts';
import { NOW, imageOf, manifestOf, nodeOSOf, nodeOf, ourCordon, snapshotOf } from './fixtures.ts';

const TARGET = {
  digest: manifestOf('v2'),
  image: `ostree-unverified-registry:registry.example/os@${manifestOf('v2')}`,
};
const STAGE = stageOrder(TARGET, 0, 'boot-1');
const EMPTY = new Map([['a', { podsLeft: 0, refusals: [] }]]);

/** NOW is a Monday, 12:00 UTC. */
const NIGHT = { name: 'night', schedule: '0 22 * * *', durationSeconds: 7200 };
const NOON = { name: 'noon', schedule: '0 11 * * *', durationSeconds: 7200 };
const FREEZE = { start: '2026-11-23T10:00:00Z', end: '2026-11-23T18:00:00Z', reason: 'the sale' };

const policy = (windows: readonly object[], freezes: readonly object[] = []) =>
  imageOf({ policy: { windows, freezes } });

/** The plan for one node that waits for a slot, or is in the phase given. */
function planFor(image: ImageSnapshot, os: NodeOS, cordoned = false, now = NOW) {
  const nodes = [nodeOf('a', cordoned ? ourCordon('a') : {})];
  const planned = (one: NodeOS) => plan(snapshotOf({ images: [image], nodes, nodeOSes: [one], drains: EMPTY }), now);
  const first = planned(os);
  const [write] = first.actions;
  // Words and conditions are brought up to date before anything else is done.
  if (write?.kind !== 'WriteRollout' || write.status.rollout.phase !== os.status?.rollout?.phase) return first;
  const { rollout, conditions } = write.status;
  return planned({ ...os, status: { ...os.status, rollout, conditions: [...conditions] } });
}

const WAITING = nodeOSOf('a', { staged: 'v2', order: STAGE, rollout: { phase: 'AwaitingSlot' } });
const SLOT = { slotTime: '2026-11-23T11:58:00Z', digest: TARGET.digest } as const;
const DRAINING = nodeOSOf('a', {
  staged: 'v2',
  order: STAGE,
  rollout: { ...SLOT, phase: 'Draining', cordonOwned: true },
});

const phasesOf = (actions: readonly Action[]) =>
  actions.flatMap((action) => (action.kind === 'WriteRollout' ? [action.status.rollout.phase] : []));
const blockersOf = (actions: readonly Action[]) =>
  actions.flatMap((action) => (action.kind === 'WriteImageStatus' ? (action.status.blockers ?? []) : []));

describe('Windows and freezes', () => {
  it('grant a slot in an open window, and say what opens when in a closed one', () => {
    assert.deepEqual(phasesOf(planFor(policy([NOON]), WAITING).actions), ['Draining']);
    const { actions, nextTime } = planFor(policy([NIGHT]), WAITING);
    assert.deepEqual(phasesOf(actions), []);
    const [blocker] = blockersOf(actions);
    assert.equal(blocker?.type, 'WindowClosed');
    assert.match(blocker.message, /the next, night, opens at 2026-11-23T22:00:00Z/);
    assert.deepEqual(nextTime, new Date('2026-11-23T22:00:00Z'));
  });

  it('let a freeze overrule an open window, and quote its reason', () => {
    const { actions, nextTime } = planFor(policy([NOON], [FREEZE]), WAITING);
    assert.deepEqual(phasesOf(actions), []);
    const [blocker] = blockersOf(actions);
    assert.deepEqual([blocker?.type, blocker?.since], ['Frozen', FREEZE.start]);
    assert.match(blocker?.message ?? '', /until 2026-11-23T18:00:00Z \(the sale\)/);
    assert.deepEqual(nextTime, new Date('2026-11-23T13:00:00Z'));
  });

  it('leave the other action alone: no window for it means any time', () => {
    const { object } = policy([{ ...NIGHT, actions: ['Stage'] }]);
    assert.equal(mayRebootNow(object, NOW), undefined);
    assert.equal(mayStageNow(object, NOW)?.type, 'WindowClosed');
    assert.equal(mayStageNow(object, new Date('2026-11-23T23:59:59Z')), undefined);
    assert.equal(mayStageNow(policy([], [FREEZE]).object, NOW)?.type, 'Frozen');
  });

  it('close the gate for a window that cannot be read, even beside one that is open, and name the field', () => {
    const { object } = policy([NOON, { ...NIGHT, schedule: '0 22-6 * * *' }]);
    const obstacle = mayRebootNow(object, NOW);
    assert.equal(obstacle?.type, 'InvalidWindow');
    assert.match(obstacle.message, /spec\.windows\[night\]\.schedule "0 22-6 \* \* \*" cannot be read/);
    const zone = mayRebootNow(policy([{ ...NOON, timeZone: 'Europe/Nowhere' }]).object, NOW);
    assert.match(zone?.message ?? '', /spec\.windows\[noon\]\.timeZone "Europe\/Nowhere" cannot be read/);
    assert.equal(mayStageNow(object, NOW), undefined);
  });

  it('say so when no window ever opens again', () => {
    const obstacle = mayRebootNow(policy([{ ...NIGHT, schedule: '0 0 30 2 *' }]).object, NOW);
    assert.match(obstacle?.message ?? '', /No window for rebooting ever opens again; correct spec\.windows\[night\]/);
    assert.equal(obstacle?.wake, undefined);
  });

  it('give the slot of a node that is being drained back at the end of the window: staged stays, the cordon goes first', () => {
    const given = planFor(policy([NIGHT]), DRAINING, true);
    const [write, told] = given.actions;
    assert.ok(write?.kind === 'WriteRollout');
    assert.deepEqual([write.status.rollout.phase, write.status.rollout.slotTime], ['Staged', SLOT.slotTime]);
    assert.ok(told?.kind === 'Emit' && told.reason === 'SlotReleased', JSON.stringify(told));
    const released = nodeOSOf('a', {
      staged: 'v2',
      order: STAGE,
      rollout: { ...SLOT, phase: 'Staged', cordonOwned: true },
    });
    assert.ok(planFor(policy([NIGHT]), released, true).actions.some(({ kind }) => kind === 'Uncordon'));
  });

  it('do so also while the registry does not say what the image is', () => {
    const image = { ...policy([NIGHT]), resolution: { state: 'Pending' } as const };
    assert.deepEqual(phasesOf(planFor(image, DRAINING, true).actions), ['Staged']);
    assert.deepEqual(phasesOf(planFor({ ...image, object: policy([NOON]).object }, DRAINING, true).actions), []);
  });

  it('wake the planner at the end of the window in which a node is drained', () => {
    const { nextTime } = planFor(policy([{ ...NOON, durationSeconds: 3602 }]), DRAINING, false);
    assert.deepEqual(nextTime, new Date('2026-11-23T12:00:02Z'));
  });

  it('give a node that rests after a refused boot back as well', () => {
    const rollout = { ...SLOT, phase: 'AwaitingGate', nextAttemptTime: '2026-11-23T12:00:10Z' } as const;
    const os = nodeOSOf('a', { staged: 'v2', order: STAGE, rollout: { ...rollout, cordonOwned: true } });
    assert.deepEqual(phasesOf(planFor(policy([NIGHT]), os, true).actions), ['Staged']);
  });

  it('never approve a boot that was decided in the window after its end, but let an approved one finish', () => {
    const flight = {
      ...SLOT,
      phase: 'Rebooting',
      preBootID: 'boot-1',
      rebootDeadline: '2026-11-23T12:10:00Z',
    } as const;
    const rollout = { ...flight, phaseTime: '2026-11-23T11:59:00Z', cordonOwned: true };
    const decided = nodeOSOf('a', { staged: 'v2', order: STAGE, rollout });
    const approval = ({ actions }: { actions: readonly Action[] }) =>
      actions.some((action) => action.kind === 'WriteOrder' && action.spec.order?.goal === 'Boot');
    assert.equal(approval(planFor(policy([NOON]), decided, true)), true);
    const late = planFor(policy([NIGHT]), decided, true);
    assert.equal(approval(late), false);
    assert.deepEqual(phasesOf(late.actions), ['Draining']);
    const boot = bootOrder(TARGET, rollout);
    assert.ok(boot);
    const approved = nodeOSOf('a', { staged: 'v2', order: boot, rollout });
    const kinds = planFor(policy([NIGHT]), approved, true).actions.map(({ kind }) => kind);
    assert.ok(!kinds.includes('WriteOrder') && !kinds.includes('Uncordon'), kinds.join(' '));
    assert.deepEqual(phasesOf(planFor(policy([NIGHT]), approved, true).actions), []);
  });
});
