/** Who gets a slot. Several may be granted in one plan; each is counted before the next. */
import { firstInTurn } from './turn.ts';
import type { Asking, Turn } from './turn.ts';

/**
 * Something that bounds how many nodes get a slot. It counts those of this plan, so each plan needs new ones; and it only
 * narrows: what it does not admit now, it does not admit after others were taken either.
 */
export interface SlotLimit {
  /** True when the node may get a slot after those that were taken. */
  readonly admits: (one: Asking) => boolean;
  /** Counts the node as one that has got a slot. */
  readonly take: (one: Asking) => void;
}

const IN_TURN_AT_ONCE = 50;

/** Names of the nodes among `candidates` that get a slot now, in turn: those that every limit admits. */
export function grants(candidates: readonly Asking[], limits: readonly SlotLimit[], turn: Turn): readonly string[] {
  const granted: string[] = [];
  const admitted = (one: Asking) => limits.every((limit) => limit.admits(one));
  // With no room for anybody, which is most of the time, nobody need be put in order; with room for a few, not everybody.
  let rest = candidates.filter(admitted);
  while (rest.length > 0) {
    const next = firstInTurn(rest, turn, IN_TURN_AT_ONCE);
    for (const one of next) {
      if (!admitted(one)) continue;
      for (const limit of limits) limit.take(one);
      granted.push(one.node.name);
    }
    const asked = new Set(next);
    rest = rest.filter((one) => !asked.has(one) && admitted(one));
  }
  return granted;
}
