/** Who gets a slot of those that can be emptied now, and whose drain is to be tried first. */
import { LOOKAHEAD, isUntried, wouldBeForced } from './rehearsal.ts';
import { slotLimits } from './slot-gates.ts';
import type { Candidate, GateView, Passed } from './slot-gates.ts';
import { grants } from './slots.ts';
import { asking, firstInTurn } from './turn.ts';

export interface Rehearsed {
  /** They get a slot now. */
  readonly ready: readonly Candidate[];
  /** How their drain would go is to be found out, or looked at again. */
  readonly untried: readonly Candidate[];
}

/**
 * Parts those who could have a slot now. `through` passed every gate; `refused` all but that of the dry run: they are asked
 * again while the limits have room for them, and nobody asks while they have none.
 */
export function rehearse({ through, refused }: Passed, view: GateView): Rehearsed {
  const { viewed, snapshot } = view;
  const { dryRuns } = snapshot;
  const limits = slotLimits(view);
  // When nobody else can go, those go whose pods would be deleted in the end.
  const forced = through.length > 0 ? [] : refused.filter((one) => wouldBeForced(viewed(one), dryRuns));
  const able = through.length > 0 ? through : forced;
  const names = new Set(grants(able.map(asking), limits, view.turn));
  const chosen = able.filter(({ member }) => names.has(member.node.name));
  const untried = chosen.filter((one) => isUntried(viewed(one), dryRuns));
  const ready = chosen.filter((one) => !untried.includes(one));
  const waiting = refused.filter((one) => !ready.includes(one));
  const room = grants(waiting.map(asking), limits, view.turn).length > 0;
  const ahead = refused.length > 0 && untried.length > 0 ? nextInTurn(able, names, view) : [];
  const next = ahead.filter((one) => isUntried(viewed(one), dryRuns));
  return { ready, untried: [...untried, ...next, ...(room ? waiting : [])] };
}

function nextInTurn(able: readonly Candidate[], names: ReadonlySet<string>, { turn }: GateView): readonly Candidate[] {
  const rest = able.filter(({ member }) => !names.has(member.node.name));
  const next = new Set(firstInTurn(rest.map(asking), turn, LOOKAHEAD).map(({ node }) => node.name));
  return rest.filter(({ member }) => next.has(member.node.name));
}
