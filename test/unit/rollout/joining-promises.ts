/** What must hold for nodes that join, judged without the planner's own code. */
import assert from 'node:assert/strict';
import type { NodeOS, OSImageSpec } from '../../../api/index.ts';
import type { NodeMarks } from '../../../operator/rollout/action.ts';
import type { ImageSnapshot, NodeSnapshot, Snapshot } from '../../../operator/rollout/snapshot.ts';
import { manifestOf } from './fixtures.ts';
import { isSelected } from './selection.ts';

/** The spec as it binds one node: windows do not, while it joins. */
export function bindingSpec(spec: OSImageSpec, os: NodeOS | undefined): OSImageSpec {
  return spec.newNodes !== 'Wait' && os?.status?.rollout?.joining === true ? { ...spec, windows: [] } : spec;
}

/** The gate goes onto nodes that have just joined, and comes off when they run the target or nobody wants it any more. */
export function keepsGate(snapshot: Snapshot, node: NodeSnapshot, { gated }: NodeMarks): void {
  if (gated === undefined) return;
  assert.notEqual(gated, node.gated, `the gate of ${node.name} is so already`);
  const [image, second] = snapshot.images.filter((one) => isSelected(one, node));
  const excluded = node.labels['treeline.dev/exclude'] !== undefined;
  const os = snapshot.nodeOSes.find(({ metadata, spec }) => metadata.name === node.name && spec.nodeUID === node.uid);
  const gates = image?.object.spec.newNodes === 'Gate' && second === undefined && !excluded;
  const done = os?.status?.host?.booted?.digest === manifestOf(versionOf(image), node.architecture);
  if (gated) {
    assert.ok(gates, `${node.name} is gated, and nobody asked for it`);
    const { target, current } = image.object.status ?? {};
    assert.ok(os?.status?.rollout?.joining === true || target?.digest === current?.digest, `${node.name} is not new`);
  } else {
    assert.ok(!gates || done, `${node.name} loses its gate before it is done`);
  }
}

function versionOf(image: ImageSnapshot | undefined): string {
  return image?.object.status?.target?.version ?? '';
}
