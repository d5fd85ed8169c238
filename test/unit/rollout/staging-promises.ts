/** What must hold for staging in every plan, judged from the snapshot alone and without the planner's own code. */
import assert from 'node:assert/strict';
import type { Plan } from '../../../operator/rollout/action.ts';
import type { NodeSnapshot, Snapshot } from '../../../operator/rollout/snapshot.ts';
import { mayAt } from './calendars.ts';
import { isSelected } from './selection.ts';

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
    assert.ok(mayAt('Stage', image.object.spec, time), 'a node begins to fetch outside of a window or in a freeze');
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
      const next = begin.filter(({ cordoned }) => !cordoned).length;
      assert.ok(next <= lookahead, `${next} nodes are sent to fetch, ${lookahead} are next`);
    }
  }
}
