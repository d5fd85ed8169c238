/** A fleet whose admission policies are missing: nobody new is disturbed, and everybody is told. */
import assert from 'node:assert/strict';
import { stageOrder } from '../../../operator/rollout/order.ts';
import { plan } from '../../../operator/rollout/plan.ts';
import type { AdmissionSnapshot, Snapshot } from '../../../operator/rollout/snapshot.ts';
import { NOW, imageOf, manifestOf, nodeOSOf, nodeOf, snapshotOf } from './fixtures.ts';

const MISSING: AdmissionSnapshot = {
  deviating: [{ policy: 'treeline-agent-own-node', problem: 'is not there', manifest: 'manifests/base/x.yaml' }],
};

const TARGET = {
  digest: manifestOf('v2'),
  image: `ostree-unverified-registry:registry.example/os@${manifestOf('v2')}`,
};
const ORDER = stageOrder(TARGET, 0, 'boot-1');

/** One node waits for a slot; there is another where its pods could go. */
function fleet(admission?: AdmissionSnapshot): Snapshot {
  return snapshotOf({
    images: [imageOf({ maxUnavailable: 1, selector: { matchLabels: { pool: 'a' } } })],
    nodes: [nodeOf('a', { labels: { pool: 'a' } }), nodeOf('refuge')],
    nodeOSes: [nodeOSOf('a', { staged: 'v2', order: ORDER, rollout: { phase: 'AwaitingSlot' } })],
    ...(admission && { admission }),
  });
}

const statusOf = (snapshot: Snapshot) => {
  const write = plan(snapshot, NOW).actions.find(({ kind }) => kind === 'WriteImageStatus');
  return write?.kind === 'WriteImageStatus' ? write.status : undefined;
};
const degraded = (snapshot: Snapshot) => statusOf(snapshot)?.conditions?.find(({ type }) => type === 'Degraded');
const grants = (snapshot: Snapshot) =>
  plan(snapshot, NOW).actions.some((action) => action.kind === 'WriteRollout' && action.status.rollout.slotTime);
const events = (snapshot: Snapshot) =>
  plan(snapshot, NOW).actions.flatMap((action) => (action.kind === 'Emit' ? [`${action.type} ${action.reason}`] : []));

describe('A fleet whose admission policies are not in force', () => {
  it('gives no further slot, and says what to apply', () => {
    assert.ok(grants(fleet()), 'a slot is given otherwise');
    assert.ok(grants(fleet({ deviating: [] })));
    assert.ok(!grants(fleet(MISSING)));
    const [first] = statusOf(fleet(MISSING))?.blockers ?? [];
    assert.equal(first?.type, 'AdmissionPolicyMissing');
    assert.match(first.message, /treeline-agent-own-node is not there\. Apply manifests\/base\/x\.yaml/);
    const conditions = statusOf(fleet(MISSING))?.conditions ?? [];
    assert.equal(conditions.find(({ type }) => type === 'Stalled')?.reason, 'RolloutHalted');
  });

  it('is Degraded also when there is nothing to roll out, and tells of both changes once', () => {
    const done = (admission: AdmissionSnapshot) => ({
      ...fleet(admission),
      nodeOSes: [nodeOSOf('a', { booted: 'v2', rollout: { phase: 'Updated' } })],
    });
    assert.equal(degraded(done(MISSING))?.reason, 'AdmissionPolicyMissing');
    assert.equal(degraded(done({ deviating: [] }))?.reason, 'NoFailures');
    assert.ok(events(done(MISSING)).includes('Warning AdmissionPolicyMissing'));
    const told = statusOf(done(MISSING));
    const [image = imageOf()] = done(MISSING).images;
    const later = (admission: AdmissionSnapshot) => ({
      ...done(admission),
      images: [{ ...image, object: { ...image.object, ...(told && { status: told }) } }],
    });
    assert.ok(!events(later(MISSING)).some((event) => event.includes('AdmissionPolicy')));
    assert.ok(events(later({ deviating: [] })).includes('Normal AdmissionPolicyRestored'));
  });

  it('is Degraded, but goes on, when nobody can tell', () => {
    const unknown = fleet({ deviating: [], unreadable: 'cannot get resource' });
    assert.ok(grants(unknown));
    assert.equal(degraded(unknown)?.reason, 'AdmissionPolicyUnknown');
    assert.match(degraded(unknown)?.message ?? '', /cannot get resource/);
  });

  it('lets a node that holds a slot go on', () => {
    const holds = (admission: AdmissionSnapshot): Snapshot => ({
      ...fleet(admission),
      nodeOSes: [
        nodeOSOf('a', { staged: 'v2', order: ORDER, rollout: { phase: 'Draining', slotTime: '2026-11-23T11:59:00Z' } }),
      ],
    });
    const cordons = (snapshot: Snapshot) => plan(snapshot, NOW).actions.some(({ kind }) => kind === 'Cordon');
    assert.equal(cordons(holds(MISSING)), cordons(holds({ deviating: [] })));
    assert.ok(cordons(holds(MISSING)));
  });
});
