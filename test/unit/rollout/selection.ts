/** Which nodes a selector of the simulated world selects, without the planner's own code. */
import type { LabelSelector } from '../../../api/index.ts';
import type { ImageSnapshot, NodeSnapshot } from '../../../operator/rollout/snapshot.ts';

export function isSelected(image: ImageSnapshot, node: NodeSnapshot): boolean {
  return hasLabels(image.object.spec.nodeSelector, node.labels);
}

/** The selectors that the simulated world uses: everything, or one label. */
export function hasLabels(selector: LabelSelector | undefined, labels: Readonly<Record<string, string>>): boolean {
  return Object.entries(selector?.matchLabels ?? {}).every(([key, value]) => labels[key] === value);
}
