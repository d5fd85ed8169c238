import assert from 'node:assert/strict';
import { toTimestamp } from '../../../api/index.ts';
import type { Gate, OSImageStatus, RolloutStatus } from '../../../api/index.ts';
import { gateClause, isOverdue, nextGateDeadline } from '../../../operator/rollout/gates.ts';
import { plan } from '../../../operator/rollout/plan.ts';
import type { DrainSnapshot, NodeSnapshot, Snapshot } from '../../../operator/rollout/snapshot.ts';
import { NOW, imageOf, manifestOf, nodeOSOf, nodeOf, ourCordon, snapshotOf } from './fixtures.ts';
import type { NodeOSOptions } from './fixtures.ts';
import { stageOrder } from '../../../operator/rollout/order.ts';

const TYPE = 'example.com/Checked';
const TARGET = {
  digest: manifestOf('v2'),
  image: `ostree-unverified-registry:registry.example/os@${manifestOf('v2')}`,
};
const STAGE = stageOrder(TARGET, 0, 'boot-1');
const SLOT = '2026-11-23T11:50:00Z';
const ASKED = '2026-11-23T11:58:00Z';
const EMPTY: DrainSnapshot = { podsLeft: 0, refusals: [] };
const FLIGHT = { slotTime: SLOT, preBootID: 'boot-1', rebootDeadline: '2026-11-23T12:10:00Z', digest: TARGET.digest };

interface Scene {
  readonly gate: Partial<Gate> & Pick<Gate, 'when'>;
  readonly rollout: Partial<RolloutStatus>;
  readonly os?: NodeOSOptions;
  readonly node?: Partial<NodeSnapshot>;
  readonly condition?: { readonly status: string; readonly time?: string };
  readonly image?: Record<string, unknown>;
  readonly now?: Date;
}

function snapshot({ gate, rollout, os, node, condition, image }: Scene): Snapshot {
  const gates = [{ conditionType: TYPE, ...gate }];
  const conditions = condition && { conditions: { [TYPE]: condition } };
  return snapshotOf({
    images: [imageOf({ policy: { health: { gates } }, ...image })],
    nodes: [nodeOf('a', { ...ourCordon('a'), ...conditions, ...node })],
    nodeOSes: [nodeOSOf('a', { staged: 'v2', order: STAGE, ...os, rollout })],
    drains: new Map([['a', EMPTY]]),
  });
}

/** What the planner writes about the node; what is there already when it writes nothing. */
function next(scene: Scene): RolloutStatus {
  const given = snapshot(scene);
  const write = plan(given, scene.now ?? NOW).actions.find((action) => action.kind === 'WriteRollout');
  const rollout = write?.status.rollout ?? given.nodeOSes[0]?.status?.rollout;
  assert.ok(rollout);
  return rollout;
}

function statusOf(given: Snapshot, now = NOW): OSImageStatus {
  const write = plan(given, now).actions.find((action) => action.kind === 'WriteImageStatus');
  assert.ok(write, 'the OSImage is written');
  return write.status;
}

const before = { when: 'BeforeReboot' } as const;
const after = { when: 'AfterReboot' } as const;
const awaiting = { phase: 'AwaitingGate', phaseTime: ASKED, slotTime: SLOT, gateTime: ASKED } as const;
const back = { staged: undefined, booted: 'v2', bootID: 'boot-2' } as unknown as NodeOSOptions;
const verifying = { ...FLIGHT, phase: 'Verifying', phaseTime: ASKED, backTime: ASKED } as const;

describe('A gate before the reboot', () => {
  it('keeps an empty node in AwaitingGate, and says since when an answer counts', () => {
    const rollout = next({ gate: before, rollout: { phase: 'Draining', slotTime: SLOT, drainStart: SLOT } });
    assert.equal(rollout.phase, 'AwaitingGate');
    assert.equal(rollout.gateTime, toTimestamp(NOW));
    assert.equal(rollout.slotTime, SLOT);
    assert.match(rollout.message ?? '', /example\.com\/Checked to be True \(it has no such condition\)/);
  });

  it('is opened by a condition that is as new as the question, and not by one that is left from the last update', () => {
    const given = { gate: before, rollout: awaiting };
    assert.equal(next({ ...given, condition: { status: 'True', time: ASKED } }).phase, 'Rebooting');
    for (const condition of [
      { status: 'True', time: '2026-11-23T11:57:59Z' },
      { status: 'True' },
      { status: 'False', time: ASKED },
      { status: 'Unknown', time: ASKED },
    ])
      assert.equal(next({ ...given, condition }).phase, 'AwaitingGate', JSON.stringify(condition));
    const closed = statusOf(snapshot({ ...given, condition: { status: 'False', time: ASKED } })).blockers?.[0];
    assert.match(closed?.message ?? '', /to be True \(it is False\)/);
    const said = statusOf(snapshot({ ...given, condition: { status: 'True', time: SLOT } })).blockers?.[0];
    assert.equal(said?.type, 'GateClosed');
    assert.match(
      said?.message ?? '',
      /True anew \(it is so since before status\.rollout\.gateTime 2026-11-23T11:58:00Z/,
    );
  });

  it('is not waited for by a node that is before another moment', () => {
    assert.equal(
      next({ gate: after, rollout: { phase: 'Draining', slotTime: SLOT, drainStart: SLOT } }).phase,
      'Rebooting',
    );
    assert.equal(next({ gate: { when: 'BeforeSlot' }, rollout: awaiting }).phase, 'Rebooting');
    assert.equal(next({ gate: before, rollout: verifying, os: back }).phase, 'Soaking');
  });

  it('asks a node that lost its cordon meanwhile for nothing before it is empty again', () => {
    const node = { cordoned: false, marked: false };
    const condition = { status: 'True', time: ASKED };
    const rollout = next({ gate: before, rollout: awaiting, node, condition });
    assert.equal(rollout.phase, 'Draining');
    assert.equal(rollout.gateTime, ASKED, 'the answer that was given stays valid');
  });

  it('that closes again before the approval is written keeps the node from booting', () => {
    const rollout = { ...FLIGHT, phase: 'Rebooting', phaseTime: ASKED, gateTime: ASKED } as const;
    assert.equal(next({ gate: before, rollout, condition: { status: 'False', time: ASKED } }).phase, 'Draining');
    const actions = plan(snapshot({ gate: before, rollout, condition: { status: 'True', time: ASKED } }), NOW).actions;
    assert.ok(actions.some((action) => action.kind === 'WriteRollout' || action.kind === 'WriteOrder'));
    assert.ok(!actions.some((action) => action.kind === 'WriteRollout' && action.status.rollout.phase === 'Draining'));
  });

  it('holds the node in its slot after its time, and says so in another blocker', () => {
    const gate = { ...before, timeoutSeconds: 120 };
    const given = { gate, rollout: awaiting };
    const { nextTime } = plan(snapshot(given), new Date(+NOW - 1000));
    assert.deepEqual(nextTime, NOW, 'it is looked at when the time is over');
    assert.equal(next(given).phase, 'AwaitingGate');
    assert.equal(statusOf(snapshot(given), new Date(+NOW - 1000)).blockers?.[0]?.type, 'GateClosed');
    assert.equal(statusOf(snapshot(given)).blockers?.[0]?.type, 'GateTimedOut');
    const forever = snapshot({ gate: { ...before, timeoutSeconds: 0 }, rollout: awaiting });
    assert.equal(statusOf(forever, new Date(+NOW + 86_400_000)).blockers?.[0]?.type, 'GateClosed');
  });

  it('passes the node over after its time under Skip, and names it as such', () => {
    const gate = { ...before, timeoutSeconds: 120, timeoutAction: 'Skip' } as const;
    const rollout = next({ gate, rollout: awaiting });
    assert.equal(rollout.phase, 'Blocked');
    assert.match(rollout.message ?? '', /^Its gate example\.com\/Checked was not open by 2026-11-23T12:00:00Z/);
    const blocked = statusOf(snapshot({ gate, rollout, node: { cordoned: false } }));
    assert.equal(blocked.blockers?.[0]?.type, 'GateTimedOut');
  });

  it('counts as progress within its time, and not after', () => {
    const late = '2026-11-23T09:00:00Z';
    const given = snapshot({ gate: { ...before, timeoutSeconds: 7200 }, rollout: { ...awaiting, gateTime: late } });
    const [image] = given.images;
    assert.ok(image);
    const progress = { percent: 0, lastProgressTime: late };
    const nodes = { ...statusOf(given).nodes, updating: 1 };
    const target = image.object.status?.target;
    const status = { target, progress, nodes } as OSImageStatus;
    const images = [{ ...image, object: { ...image.object, status } }];
    const stalled = (now: Date) =>
      statusOf({ ...given, images }, now).conditions?.find(({ type }) => type === 'Stalled')?.status;
    assert.equal(stalled(new Date('2026-11-23T11:59:00Z')), 'False');
    assert.equal(stalled(new Date('2026-11-23T12:00:01Z')), 'True');
  });
});

describe('A gate after the reboot', () => {
  it('keeps the node in Verifying, without a live approval, until it is open; the question is durable first', () => {
    const asked = next({ gate: after, os: back, rollout: { ...FLIGHT, phase: 'Verifying', phaseTime: ASKED } });
    assert.equal(asked.phase, 'Verifying');
    assert.equal(asked.backTime, toTimestamp(NOW));
    const stale = { status: 'True', time: '2026-11-23T11:57:00Z' };
    assert.equal(next({ gate: after, os: back, rollout: verifying, condition: stale }).phase, 'Verifying');
    assert.equal(
      next({ gate: after, os: back, rollout: verifying, condition: { status: 'True', time: ASKED } }).phase,
      'Soaking',
    );
  });

  it('that closes while the node soaks begins its soak anew', () => {
    const rollout = { ...verifying, phase: 'Soaking', healthySince: ASKED } as const;
    const closed = next({ gate: after, os: back, rollout, condition: { status: 'False', time: ASKED } });
    assert.equal(closed.phase, 'Verifying');
    assert.equal(closed.healthySince, undefined);
    assert.equal(closed.backTime, ASKED, 'its time goes on');
  });

  it('fails the node after its time under Fail, which halts the rollout, and lets it recover', () => {
    const gate = { ...after, timeoutSeconds: 120, timeoutAction: 'Fail' } as const;
    const rollout = next({ gate, os: back, rollout: verifying });
    assert.equal(rollout.phase, 'Failed');
    assert.equal(rollout.slotTime, SLOT, 'it keeps its slot');
    assert.equal(next({ gate, os: back, rollout }).phase, 'Failed', 'and stays failed');
    const told = statusOf(snapshot({ gate, os: back, rollout }));
    assert.deepEqual(
      told.blockers?.map(({ type }) => type),
      ['RolloutHalted', 'Unhealthy'],
    );
    assert.match(told.blockers?.[0]?.message ?? '', /Unhealthy: a/);
    assert.equal(next({ gate, os: back, rollout, condition: { status: 'True', time: ASKED } }).phase, 'Soaking');
    const held = { ...gate, timeoutAction: 'Hold' } as const;
    assert.equal(next({ gate: held, os: back, rollout }).phase, 'Verifying', 'a corrected spec takes it up again');
  });

  it('whose failure speaks against the image: a fleet that rolls back quarantines it', () => {
    const gate = { ...after, timeoutSeconds: 120, timeoutAction: 'Fail' } as const;
    const given = snapshot({
      gate,
      os: back,
      rollout: { ...verifying, phase: 'Failed' },
      image: { rollout: { onFailure: 'RollBack' } },
    });
    const [image] = given.images;
    assert.ok(image?.object.status?.target);
    const current = { ...image.object.status.target, digest: manifestOf('v1'), reference: 'registry.example/os:v1' };
    const images = [{ ...image, object: { ...image.object, status: { ...image.object.status, current } } }];
    const [entry] = statusOf({ ...given, images }).quarantinedDigests ?? [];
    assert.equal(entry?.reason, 'Unhealthy');
  });

  it('is a failure of the digest when the host falls back while it is closed', () => {
    const fell = { ...back, booted: 'v1', bootID: 'boot-3', rollback: 'v2' };
    for (const phase of ['Verifying', 'Failed'] as const) {
      const rollout = next({ gate: after, os: fell, rollout: { ...verifying, phase } });
      assert.equal(rollout.phase, 'Failed');
      assert.equal(rollout.rebootDeadline, undefined, 'its reboot is over');
      assert.match(rollout.message ?? '', /came back on/);
    }
  });
});

describe('A gate before the slot', () => {
  const fleet = (open: readonly string[], drain: object = {}, refused: readonly string[] = []) => {
    const names = ['a', 'b', 'c', 'd', 'e', 'f', 'g'];
    const gates = [{ conditionType: TYPE, when: 'BeforeSlot' }];
    const refusal = { namespace: 'shop', pod: 'web', message: 'no', since: NOW };
    return snapshotOf({
      images: [imageOf({ maxUnavailable: 1, policy: { health: { gates }, drain } })],
      nodes: names.map((name) =>
        nodeOf(name, open.includes(name) ? { conditions: { [TYPE]: { status: 'True', time: SLOT } } } : {}),
      ),
      nodeOSes: names.map((name) =>
        nodeOSOf(name, { staged: 'v2', order: STAGE, rollout: { phase: 'AwaitingSlot', phaseTime: ASKED } }),
      ),
      dryRuns: new Map(names.map((name) => [name, { refusals: refused.includes(name) ? [refusal] : [] }])),
    });
  };
  const slots = (given: Snapshot) =>
    plan(given, NOW).actions.flatMap((action) =>
      action.kind === 'WriteRollout' && action.status.rollout.slotTime !== undefined ? [action.name] : [],
    );

  it('lets the nodes go first whose condition is as asked, however old, and names the others once', () => {
    assert.deepEqual(slots(fleet(['e'])), ['e']);
    const told = statusOf(fleet(['e'])).blockers?.filter(({ type }) => type === 'GateClosed') ?? [];
    assert.equal(told.length, 1);
    assert.match(told[0]?.message ?? '', /^a, b, c, d, f and 1 more get no slot before the condition example/);
    assert.deepEqual(slots(fleet([])), []);
  });

  it('is not passed by because the pods of the node would be deleted in the end', () => {
    const drain = { timeoutAction: 'Delete', timeoutSeconds: 60 };
    assert.deepEqual(slots(fleet([], drain, ['a', 'b', 'c', 'd', 'e', 'f', 'g'])), []);
  });
});

describe('The times of gates', () => {
  const lasting = (timeoutSeconds?: number): Gate => ({
    conditionType: TYPE,
    when: 'AfterReboot',
    status: 'True',
    ...(timeoutSeconds !== undefined && { timeoutSeconds }),
  });

  it('make the planner look at the next of them that is still to come, and at none when all are over or none ends', () => {
    const next = (...gates: readonly Gate[]) => nextGateDeadline(gates, ASKED, NOW);
    assert.deepEqual(next(lasting(600), lasting(60), lasting(300), lasting(0)), new Date('2026-11-23T12:03:00Z'));
    assert.deepEqual(next(lasting()), new Date('2026-11-23T12:58:00Z'), 'an hour unless it says otherwise');
    assert.equal(next(lasting(120)), undefined, 'it is over in this moment');
    assert.equal(next(lasting(0), lasting(60)), undefined);
    assert.equal(next(), undefined);
  });

  it('never end for a gate with a time of 0', () => {
    const muchLater = new Date('2027-11-23T12:00:00Z');
    assert.equal(isOverdue(lasting(0), ASKED, muchLater), false);
    assert.equal(isOverdue(lasting(120), ASKED, NOW), true);
    assert.equal(isOverdue(lasting(121), ASKED, NOW), false);
  });

  it('are named by the field that the hook finds them in', () => {
    const node = nodeOf('a', { conditions: { [TYPE]: { status: 'True', time: SLOT } } });
    assert.match(gateClause(lasting(), node, ASKED), /since before status\.rollout\.backTime 2026-11-23T11:58:00Z/);
    assert.match(gateClause({ ...lasting(), when: 'BeforeReboot' }, node, ASKED), /status\.rollout\.gateTime/);
  });
});
