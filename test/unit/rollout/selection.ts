/** Which nodes an OSImage of the simulated world selects, without the planner's own code. */
import type { ImageSnapshot, NodeSnapshot } from '../../../operator/rollout/snapshot.ts';

/** The selectors that the simulated world uses: everything, or one label. */
export function isSelected(image: ImageSnapshot, node: NodeSnapshot): boolean {
  const labels = Object.entries(image.object.spec.nodeSelector.matchLabels ?? {});
  return labels.every(([key, value]) => node.labels[key] === value);
}
