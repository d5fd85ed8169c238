/** What must hold for failures and quarantine in every plan, judged from the snapshot alone and without the planner's own code. */
import assert from 'node:assert/strict';
import type { OSImage } from '../../../api/index.ts';
import type { Plan } from '../../../operator/rollout/action.ts';
import type { ImageSnapshot, Snapshot } from '../../../operator/rollout/snapshot.ts';
import { ARCHITECTURES, manifestOf } from './fixtures.ts';
import { isSelected } from './selection.ts';

/** Throws if `made` orders what is quarantined, quarantines what the fleet would go back to, or goes from one failure to the next. */
export function keepsQuarantine(snapshot: Snapshot, made: Plan): void {
  for (const action of made.actions) {
    if (action.kind === 'WriteOrder') {
      const { imageName, order } = action.spec;
      const image = snapshot.images.find(({ object }) => object.metadata.name === imageName)?.object;
      const before = snapshot.nodeOSes.find(({ metadata }) => metadata.name === action.name)?.spec.order;
      if (image === undefined || (order?.goal !== 'Stage' && order?.goal !== 'Boot') || order.id === before?.id)
        continue;
      assert.ok(
        !quarantinedManifests(image).includes(order.digest),
        `${action.name} is ordered to a quarantined digest`,
      );
    }
    if (action.kind === 'WriteImageStatus') {
      const image = snapshot.images.find(({ object }) => object.metadata.name === action.name)?.object;
      const { target, current, quarantinedDigests = [] } = action.status;
      const quarantined = quarantinedDigests.map(({ digest }) => digest);
      assert.ok(!quarantined.includes(current?.digest ?? ''), 'what the fleet would go back to is quarantined');
      if (target !== undefined && target.digest !== image?.status?.target?.digest) {
        assert.ok(!quarantined.includes(target.digest), 'a quarantined digest becomes the target');
      }
      for (const entry of image?.status?.quarantinedDigests ?? []) {
        const released = image?.spec.rollout.releaseQuarantine === entry.digest;
        assert.ok(quarantined.includes(entry.digest) || released, `${entry.digest} leaves its quarantine unasked`);
      }
    }
  }
}

/** No slot once as many nodes have failed for the target as the threshold says, nor while anybody asks for a pause. */
export function stopsAtThreshold(snapshot: Snapshot, image: ImageSnapshot, granted: readonly string[]): void {
  const { spec, status } = image.object;
  assert.deepEqual(spec.rollout.pauseRequests ?? [], [], 'a slot is granted while somebody asks for a pause');
  const selected = snapshot.nodes.filter((node) => isSelected(image, node));
  const version = status?.target?.version ?? '';
  const failed = selected.filter((node) => {
    const os = snapshot.nodeOSes.find((one) => one.metadata.name === node.name && one.spec.nodeUID === node.uid);
    const rollout = os?.status?.rollout;
    const others = snapshot.images.filter((one) => isSelected(one, node)).length > 1;
    if (others || node.labels['treeline.dev/exclude'] !== undefined) return false;
    return rollout?.phase === 'Failed' && rollout.digest === manifestOf(version, node.architecture);
  });
  const { failureThreshold = '10%' } = spec.rollout;
  const most =
    typeof failureThreshold === 'number'
      ? failureThreshold
      : Math.max(1, Math.floor((selected.length * Number.parseInt(failureThreshold, 10)) / 100));
  assert.ok(failed.length < most, `${granted.join(', ')} get a slot after ${failed.length} failures of ${most}`);
}

function quarantinedManifests({ status }: OSImage): readonly string[] {
  return (status?.quarantinedDigests ?? []).flatMap(({ version = '' }) =>
    ARCHITECTURES.map((architecture) => manifestOf(version, architecture)),
  );
}
