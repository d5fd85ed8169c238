/** What signatures mean for a rollout: nothing unsigned is taken, and what is no longer signed is given to nobody else. */
import assert from 'node:assert/strict';
import type { OrderedPolicy, OSImageStatus } from '../../../api/index.ts';
import { stageOrder } from '../../../operator/rollout/order.ts';
import { plan } from '../../../operator/rollout/plan.ts';
import type { ImageSnapshot, Snapshot } from '../../../operator/rollout/snapshot.ts';
import { digestOf, imageOf, manifestOf, nodeOf, nodeOSOf, NOW, release, snapshotOf } from './fixtures.ts';

const SIGNERS = [{ authority: 'release', key: digestOf('key') }];
const POLICY: OrderedPolicy = {
  source: 'OSImage',
  match: 'Any',
  authorities: [{ name: 'release', publicKeys: ['pem'] }],
  deniedDigests: [],
  deniedKeys: [],
};
const UNVERIFIED = {
  state: 'Failed',
  reason: 'SignatureRefused',
  message: 'it is signed by a stranger.',
  unverified: true,
} as const;

function signed(version = 'v2'): NonNullable<ImageSnapshot['target']> {
  const one = release(version);
  return { ...one, release: { ...one.release, signers: SIGNERS }, verification: [POLICY] };
}

function scene(change: Partial<ImageSnapshot>, more: Partial<Snapshot> = {}): Snapshot {
  return snapshotOf({
    images: [{ ...imageOf(), resolution: { state: 'Resolved', image: signed() }, ...change }],
    ...more,
  });
}

function outcome(snapshot: Snapshot): { status: OSImageStatus; events: readonly string[] } {
  const { actions } = plan(snapshot, NOW);
  const write = actions.find(({ kind }) => kind === 'WriteImageStatus');
  assert.ok(write?.kind === 'WriteImageStatus');
  const events = actions.flatMap((action) => (action.kind === 'Emit' ? [`${action.type} ${action.reason}`] : []));
  return { status: write.status, events };
}

const conditionOf = ({ conditions }: OSImageStatus, type: string) => conditions?.find((one) => one.type === type);

describe('An image that must be signed', () => {
  it('is said to be signed, and by whom, in status, condition and event', () => {
    const { status, events } = outcome(scene({}));
    assert.deepEqual(status.target?.signers, SIGNERS);
    const condition = conditionOf(status, 'ImageVerified');
    assert.deepEqual([condition?.status, condition?.reason], ['True', 'SignatureVerified']);
    assert.match(condition?.message ?? '', /is signed by release \(sha256:/);
    assert.ok(events.includes('Normal ImageVerified'), events.join());
  });

  it('is ordered with who must have signed it, and ordered anew when that changes', () => {
    const target = {
      digest: manifestOf('v2'),
      image: `r@${manifestOf('v2')}`,
      index: digestOf('v2'),
      verification: [POLICY],
    };
    const order = stageOrder(target, 0, 'boot');
    assert.deepEqual([order.verification, order.index], [[POLICY], digestOf('v2')]);
    const other = { ...POLICY, deniedKeys: [digestOf('key')] };
    assert.notEqual(stageOrder({ ...target, verification: [other] }, 0, 'boot').id, order.id);
    assert.equal(stageOrder({ ...target, index: digestOf('other') }, 0, 'boot').id, order.id);
  });

  it('is not taken while it is not; the fleet stays on its target, and people are told', () => {
    const { status, events } = outcome(scene({ resolution: UNVERIFIED, target: signed() }));
    assert.equal(status.target?.digest, digestOf('v2'));
    const condition = conditionOf(status, 'ImageVerified');
    assert.deepEqual([condition?.status, condition?.reason], ['False', 'ImageNotVerified']);
    assert.match(
      status.blockers?.[0]?.message ?? '',
      /SignatureRefused: it is signed by a stranger\.\) It is not taken; the target stays v2\./,
    );
    assert.equal(status.blockers?.[0]?.type, 'ImageNotVerified');
    assert.ok(events.includes('Warning ImageNotVerified'), events.join());
    assert.ok(!status.blockers?.some(({ type }) => type === 'ImageNotResolved'));
  });

  it('never becomes the first target unsigned', () => {
    const { status } = outcome(scene({ ...imageOf({ announced: false }), resolution: UNVERIFIED }));
    assert.equal(status.target, undefined);
    assert.equal(conditionOf(status, 'Stalled')?.status, 'True');
  });

  it('halts its rollout when its signature no longer counts: no node begins to fetch it, and none gets a slot', () => {
    const nodes = [nodeOf('a'), nodeOf('b')];
    const nodeOSes = [
      nodeOSOf('a', { staged: 'v2', rollout: { phase: 'AwaitingSlot' } }),
      nodeOSOf('b', { rollout: { phase: 'Pending' } }),
    ];
    const begun = (snapshot: Snapshot) =>
      plan(snapshot, NOW).actions.flatMap((action) => {
        const phase = action.kind === 'WriteRollout' ? action.status.rollout?.phase : undefined;
        return phase === 'Staging' || phase === 'Draining' ? [phase] : [];
      });
    const going = { nodes, nodeOSes };
    assert.ok(begun(scene({}, going)).length > 0, 'it would go on');
    for (const halted of [
      scene({ resolution: UNVERIFIED }, going),
      scene({ resolution: { state: 'Resolved', image: signed('v3') }, unverifiedTarget: UNVERIFIED }, going),
    ]) {
      assert.deepEqual(begun(halted), []);
      const { status } = outcome(halted);
      assert.deepEqual(conditionOf(status, 'Stalled')?.reason, 'RolloutHalted');
      assert.equal(conditionOf(status, 'ImageVerified')?.status, 'False');
    }
  });

  it('is not followed to an older one, however well that is signed', () => {
    const tag = { policy: { image: { reference: 'registry.example/os:v2', updatePolicy: 'Automatic' } } };
    const given = imageOf(tag);
    const dated = (version: string, created: string) => {
      const one = signed(version);
      return { ...one, release: { ...one.release, reference: 'registry.example/os:v2', created } };
    };
    const [now, older] = [dated('v2', '2026-11-20T00:00:00Z'), dated('v1', '2026-11-01T00:00:00Z')];
    const status = { ...given.object.status, target: now.release, current: now.release };
    const moved = {
      object: { ...given.object, status },
      resolution: { state: 'Resolved', image: older } as const,
      target: now,
    };
    const written = outcome(snapshotOf({ images: [moved] })).status;
    assert.equal(written.target?.digest, digestOf('v2'));
    assert.ok(written.blockers?.some(({ type }) => type === 'DowngradeForbidden'));
    assert.equal(conditionOf(written, 'ImageVerified')?.status, 'True');
  });

  it('is not asked for where nobody is named, and that is said', () => {
    const condition = conditionOf(outcome(snapshotOf({ images: [imageOf()] })).status, 'ImageVerified');
    assert.deepEqual([condition?.status, condition?.reason], ['Unknown', 'VerificationNotRequired']);
  });
});
