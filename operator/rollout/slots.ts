/** Who gets a slot. Several may be granted in one plan; each is counted before the next. */
import type { NodeView } from './node-view.ts';
import { inTurn } from './turn.ts';
import type { Turn } from './turn.ts';

/** Something that bounds how many nodes get a slot. It counts those of this plan, so each plan needs new ones. */
export interface SlotLimit {
  /** True when the node may get a slot after those that were taken. */
  readonly admits: (view: NodeView) => boolean;
  /** Counts the node as one that has got a slot. */
  readonly take: (view: NodeView) => void;
}

/** Names of the nodes among `candidates` that get a slot now, in turn: those that every limit admits. */
export function grants(candidates: readonly NodeView[], limits: readonly SlotLimit[], turn: Turn): readonly string[] {
  const granted: string[] = [];
  for (const view of inTurn(candidates, turn)) {
    if (!limits.every((limit) => limit.admits(view))) continue;
    for (const limit of limits) limit.take(view);
    granted.push(view.node.name);
  }
  return granted;
}
