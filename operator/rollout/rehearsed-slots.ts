/** Who gets a slot of those that can be emptied now, and whose drain is to be tried first. */
import { LOOKAHEAD, isUntried, wouldBeForced, wouldBeRefused } from './rehearsal.ts';
import type { Candidate, GateView } from './slot-gates.ts';
import { grants, inTurn } from './slots.ts';

export interface Rehearsed {
  /** They get a slot now. */
  readonly ready: readonly Candidate[];
  /** How their drain would go is to be found out, or looked at again. */
  readonly untried: readonly Candidate[];
}

/**
 * Parts those who could have a slot now. `through` passed every gate; of the other `candidates` some were refused by a dry
 * run: they are asked again while the budget has room for them, and nobody asks while it has none.
 */
export function rehearse(
  candidates: readonly Candidate[],
  through: readonly Candidate[],
  { budget, viewed, snapshot: { dryRuns } }: GateView,
  digest: string,
): Rehearsed {
  const passed = new Set(through);
  const refused = candidates.filter((one) => !passed.has(one) && wouldBeRefused(viewed(one), dryRuns) !== undefined);
  // When nobody else can go, those go whose pods would be deleted in the end.
  const forced = through.length > 0 ? [] : refused.filter((one) => wouldBeForced(viewed(one), dryRuns));
  const able = through.length > 0 ? through : forced;
  const names = grants(able.map(viewed), budget, digest);
  const chosen = able.filter(({ member }) => names.includes(member.node.name));
  const untried = chosen.filter((one) => isUntried(viewed(one), dryRuns));
  const ready = chosen.filter((one) => !untried.includes(one));
  const unavailable = new Set([...budget.unavailable, ...names]);
  const waiting = refused.filter((one) => !ready.includes(one));
  const room = grants(waiting.map(viewed), { ...budget, unavailable }, digest).length > 0;
  const ahead = refused.length > 0 && untried.length > 0 ? nextInTurn(able, names, viewed, digest) : [];
  const next = ahead.filter((one) => isUntried(viewed(one), dryRuns));
  return { ready, untried: [...untried, ...next, ...(room ? waiting : [])] };
}

function nextInTurn(
  able: readonly Candidate[],
  names: readonly string[],
  viewed: GateView['viewed'],
  digest: string,
): readonly Candidate[] {
  const rest = able.filter(({ member }) => !names.includes(member.node.name));
  const next = new Set(
    inTurn(rest.map(viewed), digest)
      .slice(0, LOOKAHEAD)
      .map(({ node }) => node.name),
  );
  return rest.filter(({ member }) => next.has(member.node.name));
}
