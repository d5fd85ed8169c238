/**
 * Which OSImage rules which Node. A node that two OSImages select is ruled by neither: taking the older, the newer or
 * the first by name would move a node because of somebody else's typing mistake.
 */
import { EXCLUDE_LABEL } from '../../api/index.ts';
import type { LabelSelector } from '../../api/index.ts';
import type { ImageSnapshot, NodeSnapshot, Snapshot } from './snapshot.ts';

export type Membership =
  | { readonly kind: 'Ruled'; readonly image: ImageSnapshot }
  | { readonly kind: 'Excluded'; readonly image: ImageSnapshot }
  | { readonly kind: 'Conflict'; readonly images: readonly ImageSnapshot[] }
  | { readonly kind: 'Unselected' };

/** True when `labels` meet `selector` (Kubernetes: "Labels and Selectors"); an empty selector means every object. */
export function selects(selector: LabelSelector, labels: Readonly<Record<string, string>>): boolean {
  for (const [key, value] of Object.entries(selector.matchLabels ?? {})) {
    if (labels[key] !== value) return false;
  }
  return (selector.matchExpressions ?? []).every(({ key, operator, values = [] }) => {
    const value = labels[key];
    switch (operator) {
      case 'In':
        return value !== undefined && values.includes(value);
      case 'NotIn':
        // As in Kubernetes: a node without the label meets NotIn.
        return value === undefined || !values.includes(value);
      case 'Exists':
        return value !== undefined;
      case 'DoesNotExist':
        return value === undefined;
    }
  });
}

/** OSImages that rule nodes: those that are not being deleted. */
export function rulingImages(snapshot: Snapshot): readonly ImageSnapshot[] {
  return snapshot.images.filter((image) => image.object.metadata.deletionTimestamp === undefined);
}

/** Says what rules `node`, given the OSImages that rule at all. */
export function membershipOf(node: NodeSnapshot, images: readonly ImageSnapshot[]): Membership {
  const selecting = images.filter((image) => selects(image.object.spec.nodeSelector, node.labels));
  const [first, second] = selecting;
  if (first === undefined) return { kind: 'Unselected' };
  if (second !== undefined) return { kind: 'Conflict', images: selecting };
  return node.labels[EXCLUDE_LABEL] === undefined
    ? { kind: 'Ruled', image: first }
    : { kind: 'Excluded', image: first };
}
