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

const NONE: NonNullable<LabelSelector['matchExpressions']> = [];

/** True when `labels` meet `selector` (Kubernetes: "Labels and Selectors"); an empty selector means every object. */
export function selects(selector: LabelSelector, labels: Readonly<Record<string, string>>): boolean {
  const { matchLabels, matchExpressions = NONE } = selector;
  // Entries would be a list for every node in every plan.
  for (const key in matchLabels) if (labels[key] !== matchLabels[key]) return false;
  return matchExpressions.every(({ key, operator, values = [] }) => {
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

/** Says what rules each node, given the OSImages that rule at all; most nodes share the same few answers. */
export function membershipsOf(images: readonly ImageSnapshot[]): (node: NodeSnapshot) => Membership {
  const unselected: Membership = { kind: 'Unselected' };
  const alone = images.map((image) => ({
    image,
    ruled: { kind: 'Ruled', image } satisfies Membership,
    excluded: { kind: 'Excluded', image } satisfies Membership,
  }));
  return ({ labels }) => {
    let first: (typeof alone)[number] | undefined;
    let several: ImageSnapshot[] | undefined;
    for (const one of alone) {
      if (!selects(one.image.object.spec.nodeSelector, labels)) continue;
      if (first === undefined) first = one;
      else (several ??= [first.image]).push(one.image);
    }
    if (first === undefined) return unselected;
    if (several !== undefined) return { kind: 'Conflict', images: several };
    return labels[EXCLUDE_LABEL] === undefined ? first.ruled : first.excluded;
  };
}
