import assert from 'node:assert/strict';
import type { HealthCheck, OSImageStatus, RolloutStatus } from '../../../api/index.ts';
import { checkKey } from '../../../operator/rollout/checks.ts';
import { stageOrder } from '../../../operator/rollout/order.ts';
import { plan } from '../../../operator/rollout/plan.ts';
import type { CheckSnapshot, Snapshot } from '../../../operator/rollout/snapshot.ts';
import { NOW, imageOf, manifestOf, nodeOSOf, nodeOf, ourCordon, release, snapshotOf } from './fixtures.ts';

const TARGET = {
  digest: manifestOf('v2'),
  image: `ostree-unverified-registry:registry.example/os@${manifestOf('v2')}`,
};
const STAGE = stageOrder(TARGET, 0, 'boot-1');
const BACK = '2026-11-23T11:58:00Z';
const WEB = { apiVersion: 'apps/v1', kind: 'Deployment', namespace: 'shop', name: 'web' };

function check(when: HealthCheck['when'], rest: Partial<HealthCheck> = {}): HealthCheck {
  return { name: 'web', when, object: WEB, expression: 'object.ok', message: 'The shop is down.', ...rest };
}

function answered(one: HealthCheck, verdict: CheckSnapshot['verdict'], node?: string, readTime = NOW) {
  const snapshot: CheckSnapshot = { check: one, readTime, verdict, message: '' };
  return [checkKey('fleet', one.name, node), snapshot] as const;
}

/** Two nodes that could have a slot, of which the fleet can spare one. */
function waiting(
  one: HealthCheck,
  answers: readonly (readonly [string, CheckSnapshot])[],
  others: object = {},
): Snapshot {
  const names = ['a', 'b'];
  return snapshotOf({
    images: [imageOf({ policy: { health: { checks: [one] } } })],
    nodes: names.map((name) => nodeOf(name)),
    nodeOSes: names.map((name) => nodeOSOf(name, { staged: 'v2', order: STAGE, rollout: { phase: 'AwaitingSlot' } })),
    checks: new Map(answers),
    ...others,
  });
}

/** A node that is back on the image, and Ready. */
function back(
  one: HealthCheck,
  rollout: Partial<RolloutStatus>,
  answers: readonly (readonly [string, CheckSnapshot])[],
) {
  const flight = { slotTime: BACK, preBootID: 'boot-1', rebootDeadline: '2026-11-23T12:10:00Z', phaseTime: BACK };
  return snapshotOf({
    images: [imageOf({ policy: { health: { checks: [one] } } })],
    nodes: [nodeOf('a', ourCordon('a'))],
    nodeOSes: [nodeOSOf('a', { booted: 'v2', bootID: 'boot-2', rollout: { ...flight, ...rollout } })],
    checks: new Map(answers),
  });
}

function slots(given: Snapshot): readonly string[] {
  return plan(given, NOW).actions.flatMap((action) =>
    action.kind === 'WriteRollout' && action.status.rollout.slotTime !== undefined ? [action.name] : [],
  );
}

const looks = (given: Snapshot) => plan(given, NOW).actions.filter((action) => action.kind === 'Check');

function next(given: Snapshot, now = NOW): RolloutStatus {
  const write = plan(given, now).actions.find((action) => action.kind === 'WriteRollout');
  return write?.status.rollout ?? given.nodeOSes[0]?.status?.rollout ?? assert.fail();
}

function statusOf(given: Snapshot): OSImageStatus {
  const write = plan(given, NOW).actions.find((action) => action.kind === 'WriteImageStatus');
  return write?.status ?? assert.fail('the OSImage is not written');
}

describe('A check before a slot', () => {
  for (const when of ['BeforeNode', 'BeforeRollout'] as const) {
    it(`of ${when} is asked before the first slot, and grants it when it is true`, () => {
      const one = check([when]);
      assert.deepEqual(slots(waiting(one, [])), []);
      assert.equal(looks(waiting(one, [])).length, 1, 'once for all nodes');
      assert.deepEqual(
        statusOf(waiting(one, [])).blockers?.filter(({ type }) => type.startsWith('Check')) ?? [],
        [],
        'an answer that is on its way is nothing to be told of',
      );
      assert.equal(slots(waiting(one, [answered(one, 'True')])).length, 1);
    });
  }

  it('that is not true keeps every node where it is, in the words of who wrote it', () => {
    const one = check(['BeforeNode']);
    for (const [verdict, type] of [
      ['False', 'CheckFailed'],
      ['Unreadable', 'CheckFailed'],
      ['Forbidden', 'CheckForbidden'],
    ] as const) {
      const given = waiting(one, [answered(one, verdict)]);
      assert.deepEqual(slots(given), []);
      assert.equal(looks(given).length, 1, 'it is asked again');
      const [blocker] = statusOf(given).blockers ?? [];
      assert.deepEqual([blocker?.type, blocker?.object], [type, 'Deployment/shop/web']);
      assert.match(
        blocker?.message ?? '',
        /^No node gets a slot: the check web in spec\.health\.checks .* The shop is down\./,
      );
    }
  });

  it('counts only in the form in which it was asked', () => {
    const one = check(['BeforeNode']);
    const other = { ...one, expression: 'object.other' };
    assert.deepEqual(slots(waiting(other, [answered(one, 'True')])), []);
  });

  it('of BeforeRollout is not asked any more once a node has begun, and of BeforeNode is', () => {
    const begun = (one: HealthCheck) => {
      const given = waiting(one, []);
      const done = nodeOSOf('c', { booted: 'v2', rollout: { phase: 'Updated' } });
      return { ...given, nodes: [...given.nodes, nodeOf('c')], nodeOSes: [...given.nodeOSes, done] };
    };
    assert.equal(slots(begun(check(['BeforeRollout']))).length, 1);
    assert.deepEqual(slots(begun(check(['BeforeNode']))), []);
  });

  it('is not asked while nobody could have a slot anyway', () => {
    const one = check(['BeforeNode']);
    const paused = { images: [imageOf({ paused: true, policy: { health: { checks: [one] } } })] };
    assert.deepEqual(looks(waiting(one, [], paused)), []);
  });

  it('does not have further nodes fetch the image while its answer is on its way', () => {
    const one = check(['BeforeNode']);
    const policy = { health: { checks: [one] }, staging: { mode: 'AheadOfRollout', lookahead: 1 } };
    const fetching = { rollout: { phase: 'Pending' } } as const;
    const given = waiting(one, []);
    const [first] = given.nodeOSes;
    assert.ok(first);
    const snapshot = { ...given, images: [imageOf({ policy })], nodeOSes: [first, nodeOSOf('b', fetching)] };
    const begun = plan(snapshot, NOW).actions.filter(
      (action) => action.kind === 'WriteRollout' && action.status.rollout.stagingTime !== undefined,
    );
    assert.deepEqual(begun, []);
  });

  it('of AfterNode must be readable before: afterwards a node would be stuck', () => {
    const one = check(['AfterNode']);
    assert.deepEqual(slots(waiting(one, [])), []);
    assert.equal(looks(waiting(one, [])).length, 1);
    assert.deepEqual(slots(waiting(one, [answered(one, 'Forbidden')])), []);
    assert.equal(slots(waiting(one, [answered(one, 'Readable')])).length, 1);
  });

  describe('that speaks of the node', () => {
    const about = check(['BeforeNode'], { expression: 'object.busy != node.name' });
    const readable = answered(about, 'Readable');
    const names = (given: Snapshot) => looks(given).flatMap((look) => look.about?.name ?? []);

    it('is asked of the node that is next, and gives it its slot when it is true of it', () => {
      const [first] = names(waiting(about, [readable]));
      assert.ok(first !== undefined);
      assert.equal(names(waiting(about, [readable])).length, 1, 'one slot is free');
      assert.deepEqual(slots(waiting(about, [readable])), []);
      assert.deepEqual(slots(waiting(about, [readable, answered(about, 'True', first)])), [first]);
    });

    it('lets the others go first where it is not true, names the node, and asks it again', () => {
      const [first = ''] = names(waiting(about, [readable]));
      const given = waiting(about, [readable, answered(about, 'False', first)]);
      const [second = ''] = names(given).filter((name) => name !== first);
      assert.ok(names(given).includes(first));
      const both = [readable, answered(about, 'False', first), answered(about, 'True', second)];
      assert.deepEqual(slots(waiting(about, both)), [second]);
      const blocker = statusOf(waiting(about, both)).blockers?.find(({ type }) => type === 'CheckFailed');
      assert.equal(blocker?.node, first);
      assert.match(blocker?.message ?? '', /gets no slot, and others go first: .*The shop is down\.$/);
    });

    it('must be readable before, and is not asked while nobody could have a slot anyway', () => {
      const forbidden = waiting(about, [answered(about, 'Forbidden')]);
      assert.deepEqual(slots(forbidden), []);
      const paused = imageOf({ paused: true, policy: { health: { checks: [about] } } });
      assert.deepEqual(names(waiting(about, [readable], { images: [paused] })), []);
    });
  });

  it('whose expression is none closes every slot until it is corrected', () => {
    const one = check(['AfterNode'], { expression: 'object.' });
    const given = waiting(one, [answered(one, 'Readable')]);
    assert.deepEqual(slots(given), []);
    const [blocker] = statusOf(given).blockers ?? [];
    assert.equal(blocker?.type, 'CheckInvalid');
    assert.match(blocker?.message ?? '', /^spec\.health\.checks\[web\]\.expression cannot be used \(/);
  });

  it('does not keep a fleet from going back: what it asks for may be what the image broke', () => {
    const one = check(['BeforeNode', 'AfterNode']);
    const { object, resolution } = imageOf({ version: 'v3', policy: { health: { checks: [one] } } });
    const good = release('v2');
    const bad = release('v3').release;
    const entry = { ...bad, reason: 'RolledBack', failures: 1, message: 'a fell back.', time: BACK };
    const { created: _, resolvedTime: __, ...quarantined } = entry as typeof entry & { created?: string };
    const status = { target: good.release, current: good.release, quarantinedDigests: [quarantined] };
    const images = [{ object: { ...object, status }, resolution, target: good }];
    assert.equal(object.spec.image.reference, bad.reference);
    const order = stageOrder({ ...TARGET, downgrade: 'Allow' }, 0, 'boot-1');
    const nodeOSes = ['a', 'b'].map((name) =>
      nodeOSOf(name, { staged: 'v2', order, rollout: { phase: 'AwaitingSlot' } }),
    );
    const given = waiting(one, [answered(one, 'False')], { images, nodeOSes });
    assert.equal(slots(given).length, 1);
    assert.deepEqual(looks(given), []);
  });
});

describe('A check after a node', () => {
  const one = check(['AfterNode']);

  it('keeps it in Verifying until it was read since the node is back, and found true', () => {
    const asked = next(back(one, { phase: 'Rebooting' }, [answered(one, 'True', 'a')]));
    assert.deepEqual([asked.phase, asked.backTime], ['Verifying', '2026-11-23T12:00:00Z']);
    const rollout = { phase: 'Verifying', backTime: BACK } as const;
    const before = new Date('2026-11-23T11:57:59Z');
    assert.equal(next(back(one, rollout, [answered(one, 'True', 'a', before)])).phase, 'Verifying');
    assert.equal(next(back(one, rollout, [answered(one, 'True')])).phase, 'Verifying', 'about nobody');
    assert.equal(next(back(one, rollout, [answered(one, 'True', 'a')])).phase, 'Soaking');
    const [look] = looks(back(one, rollout, []));
    assert.deepEqual([look?.about?.name, look?.since], ['a', BACK]);
  });

  it('that is found false while it soaks begins the soak anew; one without an answer only holds it', () => {
    const rollout = { phase: 'Soaking', backTime: BACK, healthySince: BACK } as const;
    assert.equal(next(back(one, rollout, [answered(one, 'False', 'a')])).phase, 'Verifying');
    const unknown = back(one, rollout, []);
    assert.equal(next(unknown).phase, 'Soaking');
    assert.ok(!plan(unknown, NOW).actions.some(({ kind }) => kind === 'Uncordon'), 'a restarted operator asks first');
    const known = back(one, rollout, [answered(one, 'True', 'a')]);
    assert.ok(plan(known, NOW).actions.some(({ kind }) => kind === 'Uncordon'));
  });

  it('names what stands in the way, for as long as it does', () => {
    const given = back(one, { phase: 'Verifying', backTime: BACK }, [answered(one, 'False', 'a')]);
    const blocker = statusOf(given).blockers?.find(({ type }) => type === 'CheckFailed');
    assert.equal(blocker?.node, 'a');
    assert.match(
      blocker?.message ?? '',
      /^a is back on the image, and keeps its slot: the check web .* is not true\. The shop/,
    );
  });

  it('fails the node after its time, and lets it recover', () => {
    const short = check(['AfterNode'], { timeoutSeconds: 120 });
    const failed = next(back(short, { phase: 'Verifying', backTime: BACK }, [answered(short, 'False', 'a')]));
    assert.equal(failed.phase, 'Failed');
    const told = statusOf(back(short, failed, [answered(short, 'False', 'a')])).blockers ?? [];
    assert.deepEqual(
      told.map(({ type }) => type),
      ['RolloutHalted', 'Unhealthy'],
    );
    assert.equal(looks(back(short, failed, [])).length, 1, 'it is asked on');
    assert.equal(next(back(short, failed, [answered(short, 'True', 'a')])).phase, 'Soaking');
    const forever = check(['AfterNode'], { timeoutSeconds: 0 });
    const late = new Date(+NOW + 864_000_000);
    assert.equal(next(back(forever, { phase: 'Verifying', backTime: BACK }, []), late).phase, 'Verifying');
  });
});
