/**
 * Who may fetch the image. A place is durable in `stagingTime` before the order that uses it is written, and is free again
 * with the phase that follows, or when a failure rests.
 */
import type { Census } from './census.ts';
import { stagedDigest } from './node-view.ts';
import type { Member } from './member.ts';
import type { Candidate } from './slot-gates.ts';
import { asking, firstInTurn, inTurn } from './turn.ts';
import type { Turn } from './turn.ts';

export interface StagingRound {
  /** Nodes that need the image and may begin now. */
  readonly candidates: readonly Candidate[];
  /** The order of slots. */
  readonly turn: Turn;
  /** Of every node that the OSImage selects. */
  readonly census: Census;
  /** How many may hold a place at once. */
  readonly max: number;
  /** Only with `AheadOfRollout`. */
  readonly lookahead?: Lookahead;
}

export interface Lookahead {
  /** How many nodes without a slot may hold the image or a place. */
  readonly nodes: number;
  /** Names of nodes that cannot take a slot for a reason of their own: they are not what comes next. */
  readonly heldBack: ReadonlySet<string>;
  /** The fleet could spare a node, and none of those that hold the image can take the slot: others have to be looked for. */
  readonly stuck: boolean;
}

/** Names of the nodes that get a place now. */
export function stagingPlaces({ candidates, turn, census, max, lookahead }: StagingRound): readonly string[] {
  const taken = census.fetching.length;
  const next = lookahead === undefined ? candidates : nextOf(inOrder(candidates, turn), census, lookahead);
  // A node whose target changed under it keeps its place. One that is to lose it has it until that is written.
  const kept = taken > max ? [] : next.filter(({ member }) => member.facts.holdsPlace);
  const free = Math.max(0, max - taken);
  const others = free === 0 ? [] : next.filter(({ member }) => !member.facts.holdsPlace);
  return [...kept.map(({ member }) => member), ...firstInTurn(others.map(asking), turn, free)].map(
    ({ node }) => node.name,
  );
}

/** The candidates that come next. Those below a foreign cordon always do: a slot for them costs the fleet nothing. */
function nextOf(
  candidates: readonly Candidate[],
  { members, fetching: holders }: Census,
  { nodes, heldBack, stuck }: Lookahead,
): readonly Candidate[] {
  const counts = ({ node }: Member): boolean => !node.cordoned && !heldBack.has(node.name);
  const ahead = stuck
    ? []
    : members.filter(
        ({ os, target, facts }) =>
          os !== undefined &&
          target !== undefined &&
          !facts.holdsSlot &&
          !facts.holdsPlace &&
          stagedDigest(os) === target.digest,
      );
  const waiting = new Set(candidates.map(({ member }) => member.node.name));
  const fetching = holders.filter(({ node }) => !waiting.has(node.name));
  let free = nodes - [...fetching, ...ahead].filter(counts).length;
  return candidates.filter(({ member }) => !counts(member) || free-- > 0);
}

function inOrder(candidates: readonly Candidate[], turn: Turn): readonly Candidate[] {
  const byName = new Map(candidates.map((candidate) => [candidate.member.node.name, candidate]));
  return inTurn(candidates.map(asking), turn).flatMap(({ node }) => byName.get(node.name) ?? []);
}
