/** What decides which nodes of one OSImage go now, and how many: everything of `spec.rollout` that is about order. */
import type { Census } from './census.ts';
import type { AwayNode } from './control-plane-care.ts';
import { waitingRole } from './control-plane-order.ts';
import type { WaitingRole } from './control-plane-order.ts';
import { growthOf } from './growth.ts';
import type { Growth } from './growth.ts';
import type { Member } from './member.ts';
import type { ImageSnapshot } from './snapshot.ts';
import { isTaken, stepsOf } from './steps.ts';
import type { Steps } from './steps.ts';
import type { TargetChoice } from './target.ts';
import { topologiesOf } from './topology-budget.ts';
import type { Topology } from './topology-budget.ts';
import { turnOf } from './turn.ts';
import type { Turn } from './turn.ts';

export interface Ordering {
  /** In which order nodes are asked. */
  readonly turn: Turn;
  /** Control-plane nodes of the cluster that are unavailable, or get a slot of another OSImage in this plan. */
  readonly away: readonly AwayNode[];
  /** The kind of nodes that comes later. */
  readonly waits: WaitingRole | undefined;
  /** The canaries and waves; undefined when none hold. */
  readonly steps: Steps | undefined;
  /** How many slots there may be for now; undefined when only the budgets say. */
  readonly growth: Growth | undefined;
  /** The domains of `spec.rollout.topology`. */
  readonly topologies: readonly Topology[];
}

/** True for a node whose turn may come as things are: no step and no place of the control plane keeps it from a slot. */
export function mayComeNow({ node, facts }: Member, { steps, waits }: Ordering): boolean {
  return isTaken(steps, node) && waits?.controlPlane !== facts.controlPlane;
}

/** Works it out for `image` over the nodes that it selects, while the `away` ones are missing in the control plane. */
export function orderingOf(
  image: ImageSnapshot,
  choice: TargetChoice,
  census: Census,
  away: readonly AwayNode[],
  now: Date,
): Ordering {
  const { object } = image;
  const topologies = topologiesOf(object, census);
  const steps = stepsOf(image, choice, census, now);
  const { members } = census;
  const taken = steps === undefined ? members : members.filter(({ node }) => isTaken(steps, node));
  return {
    turn: turnOf(object, choice.target?.digest ?? '', topologies),
    away,
    waits: waitingRole(image, taken),
    steps,
    growth: growthOf(object, census),
    topologies,
  };
}
