/** What must hold for staging in every plan, judged from the snapshot alone and without the planner's own code. */
import assert from 'node:assert/strict';
import type { NodeOS } from '../../../api/index.ts';
import type { Plan } from '../../../operator/rollout/action.ts';
import type { NodeSnapshot, Snapshot } from '../../../operator/rollout/snapshot.ts';
import { mayAt } from './calendars.ts';
import { bindingSpec } from './joining-promises.ts';
import { isSelected } from './selection.ts';

/** Once two nodes have found that the image is bad and none has staged it, no other fetches it and none gets a slot for it. */
export function parksBadImages(snapshot: Snapshot, made: Plan): void {
  const failedFor = (os: NodeOS, digest: string | undefined) =>
    os.status?.rollout?.fault === 'Image' && os.status.rollout.digest === digest;
  for (const action of made.actions) {
    if (action.kind !== 'WriteRollout') continue;
    const os = snapshot.nodeOSes.find(({ metadata }) => metadata.name === action.name);
    const before = os?.status?.rollout;
    const { digest, stagingTime, slotTime } = action.status.rollout;
    if (os === undefined || digest === undefined || failedFor(os, digest)) continue;
    const sent = stagingTime !== undefined && stagingTime !== before?.stagingTime;
    if (!sent && !(slotTime !== undefined && before?.slotTime === undefined)) continue;
    const image = snapshot.images.find(({ object }) => object.metadata.name === os.spec.imageName);
    const those = snapshot.nodeOSes.filter((one) => {
      const node = snapshot.nodes.find(({ name, uid }) => name === one.metadata.name && uid === one.spec.nodeUID);
      const ruled = node !== undefined && image !== undefined && isSelected(image, node);
      return ruled && one.status?.rollout?.digest === digest;
    });
    const had = those.some(
      ({ status }) => status?.host?.staged?.digest === digest || status?.host?.booted?.digest === digest,
    );
    const witnesses = those.filter((one) => failedFor(one, digest) && one.status?.rollout?.phase !== 'Excluded');
    assert.ok(
      had || witnesses.length < 2,
      `${action.name} is sent after ${digest}, which ${witnesses.length} nodes refused`,
    );
  }
}

/** No node begins to fetch while as many as may do so already, and none that is not among the next. */
export function staysWithinPlaces(snapshot: Snapshot, made: Plan, time: number): void {
  for (const image of snapshot.images) {
    const { mode, lookahead, maxConcurrent } = image.object.spec.staging;
    const selected = snapshot.nodes.filter((node) => isSelected(image, node));
    const osOf = (node: NodeSnapshot) =>
      snapshot.nodeOSes.find(({ metadata, spec }) => metadata.name === node.name && spec.nodeUID === node.uid);
    const after = new Map(
      made.actions.flatMap((action) =>
        action.kind === 'WriteRollout' ? [[action.name, action.status.rollout] as const] : [],
      ),
    );
    const begin = selected.filter(
      (node) =>
        after.get(node.name)?.stagingTime !== undefined &&
        after.get(node.name)?.stagingTime !== osOf(node)?.status?.rollout?.stagingTime,
    );
    if (begin.length === 0) continue;
    for (const node of begin) {
      const spec = bindingSpec(image.object.spec, osOf(node));
      assert.ok(mayAt('Stage', spec, time), `${node.name} begins to fetch outside of a window or in a freeze`);
    }
    const fetching = selected.filter(
      (node) => begin.includes(node) || osOf(node)?.status?.rollout?.stagingTime !== undefined,
    );
    const percent = typeof maxConcurrent === 'string' ? Number.parseInt(maxConcurrent, 10) : undefined;
    const most =
      percent === undefined
        ? Number(maxConcurrent)
        : percent === 0
          ? 0
          : Math.max(1, Math.floor((selected.length * percent) / 100));
    assert.ok(fetching.length <= most, `${fetching.length} nodes would fetch at once, at most ${most} may`);
    for (const node of begin) assert.ok(node.ready, `${node.name} is sent to fetch and is not Ready`);
    if (mode === 'AheadOfRollout') {
      // One that tries a refused image again, or has failed, is no candidate for a slot.
      const again = (node: NodeSnapshot) => {
        const before = osOf(node)?.status?.rollout;
        return before?.fault === 'Image' || before?.phase === 'Failed';
      };
      const next = begin.filter((node) => !node.cordoned && !again(node)).length;
      assert.ok(next <= lookahead, `${next} nodes are sent to fetch, ${lookahead} are next`);
    }
  }
}
