import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import type { HostStatus, Order } from '../../../api/index.ts';
import { nextStep, type Situation } from '../../../node-agent/next-step.ts';

const digestOf = (letter: string) => `sha256:${letter.repeat(64)}`;
const A = digestOf('a');
const B = digestOf('b');
const NOW = new Date('2026-01-01T12:00:00Z');

function order(change: Partial<Order> = {}): Order {
  const digest = change.digest ?? B;
  return {
    id: 'order-1',
    image: `ostree-unverified-registry:registry.example/os@${digest}`,
    digest,
    goal: 'Boot',
    bootApproval: { digest, notBefore: '2026-01-01T11:59:00Z', notAfter: '2026-01-01T12:10:00Z' },
    ...change,
  };
}

const booted = { checksum: '1'.repeat(64), digest: A };
const staged = { checksum: '2'.repeat(64), digest: B, locked: true };
const host = (change: Partial<HostStatus> = {}): HostStatus => ({ bootID: 'boot-1', booted, staged, ...change });

function situation(change: Partial<Situation> = {}): Situation {
  return { order: order(), host: host(), lastOrder: undefined, rollout: { preBootID: 'boot-1' }, now: NOW, ...change };
}

describe('the next step of an order', () => {
  it('is only to report when there is no order, or when the order is settled', () => {
    assert.deepEqual(nextStep(situation({ order: undefined })), { kind: 'Report' });
    const lastOrder = { id: 'order-1', result: 'Failed', reason: 'X', message: '', completionTime: '' } as const;
    assert.deepEqual(nextStep(situation({ lastOrder })), { kind: 'Report' });
  });

  it('boots what is staged under a live approval', () => {
    assert.deepEqual(nextStep(situation()), { kind: 'Boot', digest: B });
  });

  it('boots with a clock that is less than a minute off', () => {
    for (const clockSkewMs of [-60_000, 60_000]) assert.equal(nextStep(situation({ clockSkewMs })).kind, 'Boot');
  });

  it('still boots when a crash came between unlock and reboot', () => {
    assert.equal(nextStep(situation({ host: host({ staged: { ...staged, locked: false } }) })).kind, 'Boot');
  });

  it('waits for the start of the approval', () => {
    const early = new Date('2026-01-01T11:00:00Z');
    assert.deepEqual(nextStep(situation({ now: early })), {
      kind: 'Report',
      wakeTime: new Date('2026-01-01T11:59:00Z'),
    });
  });

  const refusals: readonly (readonly [string, Partial<Situation>])[] = [
    ['ApprovalExpired', { now: new Date('2026-01-01T12:10:01Z') }],
    ['ApprovalExpired', { order: order({ bootApproval: { digest: B, notBefore: 'never', notAfter: 'ever' } }) }],
    ['ClockSkew', { clockSkewMs: 60_001 }],
    ['ClockSkew', { clockSkewMs: -60_001, now: new Date('2026-01-01T12:10:01Z') }],
    ['ApprovalForOtherDigest', { order: order({ bootApproval: { ...order().bootApproval!, digest: A } }) }],
    ['NothingStaged', { host: { bootID: 'boot-1', booted } }],
    ['OtherDigestStaged', { host: host({ staged: { ...staged, digest: digestOf('c') } }) }],
  ];
  for (const [reason, change] of refusals) {
    it(`refuses a boot with ${reason}`, () => {
      const step = nextStep(situation(change));
      assert.equal(step.kind, 'Refuse');
      assert.equal(step.kind === 'Refuse' && step.reason, reason);
    });
  }

  it('refuses to stage or to boot what is older than the booted image, unless its order allows that', () => {
    const older = host({
      booted: { ...booted, created: '2026-01-01T00:00:00Z' },
      staged: { ...staged, created: '2025-12-01T00:00:00Z' },
    });
    for (const goal of ['Stage', 'Boot'] as const) {
      const step = nextStep(situation({ order: order({ goal }), host: older }));
      assert.equal(step.kind === 'Refuse' && step.reason, 'DowngradeForbidden');
      const allowed = nextStep(situation({ order: order({ goal, downgrade: 'Allow' }), host: older }));
      assert.notEqual(allowed.kind, 'Refuse');
    }
  });

  it('refuses a boot without an approval', () => {
    const { bootApproval: _, ...bare } = order();
    const step = nextStep(situation({ order: bare }));
    assert.equal(step.kind === 'Refuse' && step.reason, 'ApprovalMissing');
  });

  it('locks what a crash left unlocked before it refuses', () => {
    const unlocked = host({ staged: { ...staged, locked: false } });
    assert.equal(nextStep(situation({ now: new Date('2026-01-01T12:11:00Z'), host: unlocked })).kind, 'Lock');
    assert.equal(nextStep(situation({ order: order({ goal: 'Stage' }), host: unlocked })).kind, 'Lock');
  });

  it('calls a boot into the ordered digest a success, and one into another a roll-back', () => {
    const there = nextStep(situation({ host: { bootID: 'boot-2', booted: { ...booted, digest: B } } }));
    assert.equal(there.kind === 'Done' && there.result, 'Succeeded');
    const rollback = { ...booted, digest: B };
    const back = nextStep(situation({ host: { bootID: 'boot-2', booted, rollback } }));
    assert.equal(back.kind === 'Done' && back.result, 'RolledBack');
  });

  it('calls it a roll-back with its reason when the host says that it went back by itself', () => {
    const fallback = {
      checksum: '2',
      digest: B,
      reason: 'UnitFailed',
      message: 'the unit x.service had failed',
    } as const;
    const step = nextStep(situation({ host: { bootID: 'boot-2', booted, fallback } }));
    assert.deepEqual(step.kind === 'Done' && [step.result, step.reason], ['RolledBack', 'UnitFailed']);
    assert.match(step.kind === 'Done' ? step.message : '', /by itself: the unit x\.service had failed\./);
    const other = nextStep(situation({ host: { bootID: 'boot-2', booted, fallback: { ...fallback, digest: A } } }));
    assert.equal(other.kind === 'Done' && other.reason, 'StagedLost');
  });

  it('says why what was staged was not finalised, when that was at the end of the boot for which it was approved', () => {
    const finalizationFailure = { bootID: 'boot-1', message: 'no space; /boot is full: look at it' };
    const step = nextStep(situation({ host: { bootID: 'boot-2', booted, finalizationFailure } }));
    assert.deepEqual(step.kind === 'Done' && [step.result, step.reason], ['Failed', 'FinalizationFailed']);
    assert.match(step.kind === 'Done' ? step.message : '', /\/boot is full: look at it/);
    const older = { ...finalizationFailure, bootID: 'boot-0' };
    const lost = nextStep(situation({ host: { bootID: 'boot-2', booted, finalizationFailure: older } }));
    assert.equal(lost.kind === 'Done' && lost.reason, 'StagedLost');
  });

  it('is nothing but to end the trial of what runs, whatever is ordered', () => {
    const trial = { deadlineSeconds: 600 };
    for (const goal of ['Observe', 'Stage', 'Boot', 'Discard'] as const) {
      assert.deepEqual(nextStep(situation({ order: order({ goal }), host: host({ trial }) })), { kind: 'EndTrial' });
    }
    assert.deepEqual(nextStep(situation({ order: undefined, host: host({ trial }) })), { kind: 'EndTrial' });
  });

  it('says that what was staged is lost, not rolled back, when the host has no deployment of the ordered digest', () => {
    const lost = nextStep(situation({ host: { bootID: 'boot-2', booted } }));
    assert.deepEqual(lost.kind === 'Done' && [lost.result, lost.reason], ['Failed', 'StagedLost']);
  });

  it('stages only what is neither staged nor running', () => {
    const stage = (change: Partial<HostStatus>) =>
      nextStep(situation({ order: order({ goal: 'Stage' }), host: host(change) }));
    assert.equal(stage({ staged: { ...staged, digest: digestOf('c') } }).kind, 'Stage');
    assert.deepEqual([stage({}).kind, stage({ booted: { ...booted, digest: B } }).kind], ['Done', 'Done']);
  });

  it('discards what is staged, and nothing twice', () => {
    assert.equal(nextStep(situation({ order: order({ goal: 'Discard' }) })).kind, 'Discard');
    assert.equal(
      nextStep(situation({ order: order({ goal: 'Discard' }), host: { bootID: 'b', booted } })).kind,
      'Done',
    );
  });
});

describe('any situation at all', () => {
  const digest = fc.constantFrom(A, B, B, B);
  const time = fc.date({ min: new Date('2025-12-31'), max: new Date('2026-01-02'), noInvalidDate: true });
  const deployment = fc.record(
    { checksum: fc.constant('1'.repeat(64)), digest, locked: fc.boolean() },
    { requiredKeys: ['checksum'] },
  );
  const anySituation = fc.record({
    order: fc.option(
      fc.record(
        {
          id: fc.constantFrom('1', '2'),
          image: fc.constant('image'),
          digest,
          goal: fc.constantFrom('Observe', 'Stage', 'Boot', 'Boot', 'Boot', 'Discard'),
          bootApproval: fc.record({
            digest,
            notBefore: fc.oneof(
              time.map((t) => t.toISOString()),
              fc.constant('not a time'),
            ),
            notAfter: fc.oneof(
              time.map((t) => t.toISOString()),
              fc.constant('not a time'),
            ),
          }),
        },
        { requiredKeys: ['id', 'image', 'digest', 'goal'] },
      ),
      { nil: undefined },
    ),
    host: fc.record(
      { bootID: fc.constantFrom('boot-1', 'boot-2'), booted: deployment, staged: deployment },
      { requiredKeys: ['bootID'] },
    ),
    lastOrder: fc.option(
      fc.record({
        id: fc.constantFrom('1', '2'),
        result: fc.constant('Succeeded'),
        reason: fc.constant(''),
        message: fc.constant(''),
        completionTime: fc.constant(''),
      }),
      { nil: undefined },
    ),
    rollout: fc.option(fc.record({ preBootID: fc.constantFrom('boot-1', 'boot-2') }, { requiredKeys: [] }), {
      nil: undefined,
    }),
    now: time,
  });

  it('never boots without a live approval for exactly the staged and ordered digest, in the boot it was given for', () => {
    let boots = 0;
    fc.assert(
      fc.property(anySituation, (any) => {
        const step = nextStep(any);
        if (step.kind !== 'Boot') return;
        boots += 1;
        const { order, host, now, rollout, lastOrder } = any;
        assert.equal(order?.goal, 'Boot');
        assert.notEqual(lastOrder?.id, order?.id);
        assert.equal(host.staged?.digest, order?.digest);
        assert.equal(order?.bootApproval?.digest, order?.digest);
        assert.equal(step.digest, order?.digest);
        assert.ok(Date.parse(order?.bootApproval?.notBefore ?? '') <= now.getTime());
        assert.ok(now.getTime() <= Date.parse(order?.bootApproval?.notAfter ?? ''));
        if (rollout?.preBootID !== undefined) assert.equal(rollout.preBootID, host.bootID);
      }),
      { numRuns: 20_000 },
    );
    assert.ok(boots > 0, 'the property was exercised');
  });

  it('settles an unsettled order only with what is staged locked, unless it was the boot that was ordered', () => {
    fc.assert(
      fc.property(anySituation, (any) => {
        const step = nextStep(any);
        if (step.kind === 'Refuse' || step.kind === 'Done') {
          assert.ok(any.host.staged === undefined || any.host.staged.locked === true);
        }
      }),
      { numRuns: 5000 },
    );
  });
});
