/**
 * How many nodes of one OSImage may be unavailable at once, and which are: whoever caused it. A node that somebody else
 * broke is capacity that the fleet does not have.
 */
import type { OSImage } from '../../api/index.ts';
import type { Census } from './census.ts';
import { holdsSlot } from './node-view.ts';
import type { SlotLimit } from './slots.ts';
import type { NodeSnapshot } from './snapshot.ts';
import type { NodeOS } from '../../api/index.ts';

export interface Budget {
  readonly max: number;
  /** Names of the selected nodes that are unavailable. */
  readonly unavailable: ReadonlySet<string>;
}

/**
 * A number of nodes, or a percentage of `nodes`, as a number: a percentage is rounded down but is at least 1; a literal 0
 * or "0%" is 0, which grants nothing.
 */
export function countOf(value: number | string, nodes: number): number {
  if (typeof value === 'number') return value;
  const percent = Number.parseInt(value, 10);
  return percent === 0 ? 0 : Math.max(1, Math.floor((nodes * percent) / 100));
}

/** True when workloads cannot count on `node`: NotReady, cordoned by anybody, being deleted, or holding a slot of ours. */
export function isUnavailable(node: NodeSnapshot, os: NodeOS | undefined): boolean {
  return !node.ready || node.cordoned || node.deleting || (os !== undefined && holdsSlot(os));
}

/** The budget of `image` over the nodes that it selects. */
export function budgetOf(image: OSImage, { members, unavailable }: Census): Budget {
  const max = countOf(image.spec.rollout.maxUnavailable, members.length);
  return { max, unavailable: new Set(unavailable.map(({ node }) => node.name)) };
}

/**
 * As many more as `budget` has room for. A node that is unavailable already (a foreign cordon) costs nothing more, but even
 * it is admitted only while the fleet is within its budget.
 */
export function withinBudget(budget: Budget): SlotLimit {
  const unavailable = new Set(budget.unavailable);
  return {
    admits: ({ node }) => (unavailable.has(node.name) ? unavailable.size : unavailable.size + 1) <= budget.max,
    take: ({ node }) => {
      unavailable.add(node.name);
    },
  };
}
