/** How many nodes may be passed over before the rollout stops for the others. */
import { countOf } from './budget.ts';
import { namesOf } from './member.ts';
import type { Obstacle } from './obstacle.ts';
import type { Candidate, GateView } from './slot-gates.ts';

/** Closed for all but the nodes that were passed over: if one of them can be emptied now, the way is free again. */
export function tooManyBlocked({ member }: Candidate, view: GateView): Obstacle | undefined {
  if (member.facts.phase === 'Blocked') return undefined;
  const { maxBlocked } = view.image.object.spec.rollout;
  const blocked = view.passedOver;
  const most = countOf(maxBlocked, view.census.members.length);
  if (blocked.length <= most) return undefined;
  const message = `${namesOf(blocked)} were not empty, or their gates not open, in time, and at most ${most} node${most === 1 ? '' : 's'} may be passed over (spec.rollout.maxBlocked ${maxBlocked}); see why they are blocked, exclude them, or raise maxBlocked.`;
  return { type: 'TooManyBlocked', message };
}
