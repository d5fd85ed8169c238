/** Kubernetes' own words for what happens to a Node. */
import assert from 'node:assert/strict';
import type { RolloutStatus } from '../../../api/index.ts';
import { stageOrder } from '../../../operator/rollout/order.ts';
import { plan } from '../../../operator/rollout/plan.ts';
import type { NodeSnapshot, Snapshot } from '../../../operator/rollout/snapshot.ts';
import { NOW, imageOf, manifestOf, nodeOSOf, nodeOf, ourCordon, snapshotOf } from './fixtures.ts';

const TARGET = {
  digest: manifestOf('v2'),
  image: `ostree-unverified-registry:registry.example/os@${manifestOf('v2')}`,
};
const SLOT = { slotTime: '2026-11-23T11:58:00Z', rebootDeadline: '2026-11-23T12:10:00Z', preBootID: 'boot-1' };
const OURS = { status: 'True', reason: 'TreelineRollout' };
const THEIRS = { status: 'True', reason: 'KubectlDrainStarted' };

/** Node `a` of the OSImage, beside one that is not. */
function scene(
  rollout: Partial<RolloutStatus>,
  node: Partial<NodeSnapshot> = {},
  differences: Partial<Snapshot> = { lifecycle: true },
): Snapshot {
  const order = stageOrder(TARGET, 0, 'boot-1');
  return snapshotOf({
    images: [imageOf({ selector: { matchLabels: { pool: 'a' } } })],
    nodes: [nodeOf('a', { labels: { pool: 'a' }, ...node }), nodeOf('refuge')],
    nodeOSes: [nodeOSOf('a', { staged: 'v2', order, rollout })],
    ...differences,
  });
}

function told(snapshot: Snapshot): readonly (readonly [string, readonly string[], readonly string[]])[] {
  return plan(snapshot, NOW).actions.flatMap((action) =>
    action.kind === 'TellLifecycle' ? [[action.node, action.set, action.remove] as const] : [],
  );
}

describe('Of a node in a slot, when lifecycle conditions are turned on,', () => {
  it('nothing is said before its cordon is seen', () => {
    assert.deepEqual(told(scene({ phase: 'Draining', ...SLOT })), []);
  });

  it('it is said that it is being maintained, and drained, and in one write that it is drained', () => {
    const draining = scene({ phase: 'Draining', ...SLOT }, ourCordon('a'));
    assert.deepEqual(told(draining), [['a', ['MaintenanceInProgress', 'DrainInProgress'], []]]);
    const conditions = { MaintenanceInProgress: OURS, DrainInProgress: OURS };
    assert.deepEqual(told(scene({ phase: 'Draining', ...SLOT }, { ...ourCordon('a'), conditions })), []);
    const rebooting = scene({ phase: 'Rebooting', ...SLOT }, { ...ourCordon('a'), conditions });
    assert.deepEqual(told(rebooting), [['a', ['Drained'], ['DrainInProgress']]]);
  });

  it('all of it is taken back with the slot, and what others say stays', () => {
    const conditions = { MaintenanceInProgress: OURS, Drained: THEIRS };
    assert.deepEqual(told(scene({ phase: 'Staged' }, { conditions })), [['a', [], ['MaintenanceInProgress']]]);
  });

  it('nothing is said that is said already, by whomever', () => {
    const conditions = { MaintenanceInProgress: THEIRS, DrainInProgress: THEIRS };
    assert.deepEqual(told(scene({ phase: 'Draining', ...SLOT }, { ...ourCordon('a'), conditions })), []);
  });

  it('what is left of a NodeOS that is gone is taken back', () => {
    const conditions = { MaintenanceInProgress: OURS };
    const snapshot = scene({ phase: 'Staged' }, { conditions }, { lifecycle: true, nodeOSes: [], images: [] });
    assert.deepEqual(told(snapshot), [['a', [], ['MaintenanceInProgress']]]);
  });

  it('and nothing at all when they are not turned on', () => {
    const conditions = { Drained: OURS };
    assert.deepEqual(told(scene({ phase: 'Draining', ...SLOT }, { ...ourCordon('a'), conditions }, {})), []);
  });
});

describe('A node that others say they are at work on', () => {
  function granted(conditions: NodeSnapshot['conditions'], differences: Partial<Snapshot> = { lifecycle: true }) {
    const actions = plan(
      scene({ phase: 'AwaitingSlot' }, { ...(conditions && { conditions }) }, differences),
      NOW,
    ).actions;
    const status = actions.find(({ kind }) => kind === 'WriteImageStatus');
    return {
      slot: actions.some((one) => one.kind === 'WriteRollout' && one.status.rollout.slotTime !== undefined),
      blockers: status?.kind === 'WriteImageStatus' ? (status.status.blockers ?? []) : [],
    };
  }

  it('gets no slot, and the blocker names the condition and its reason', () => {
    const { slot, blockers } = granted({ DrainInProgress: THEIRS });
    assert.equal(slot, false);
    assert.deepEqual(
      blockers.map(({ type, node }) => [type, node]),
      [['NodeUnderMaintenance', 'a']],
    );
    assert.match(blockers[0]?.message ?? '', /its condition DrainInProgress is True \(reason KubectlDrainStarted\)/);
  });

  it('gets one when the condition is False, when it only says that a drain is done, and when it is our own', () => {
    assert.equal(granted({ DrainInProgress: { ...THEIRS, status: 'False' } }).slot, true);
    assert.equal(granted({ Drained: THEIRS }).slot, true);
    assert.equal(granted({ MaintenanceInProgress: OURS }).slot, true);
  });

  it('gets one as ever where the operator takes no part in these conditions', () => {
    assert.equal(granted({ MaintenanceInProgress: THEIRS }, {}).slot, true);
  });
});
