/**
 * Who may fetch the image. A place is durable in `stagingTime` before the order that uses it is written, and is free again
 * with the phase that follows, or when a failure rests.
 */
import type { NodeOS } from '../../api/index.ts';
import { holdsSlot, stagedDigest } from './node-view.ts';
import type { Member } from './member.ts';
import type { Candidate } from './slot-gates.ts';

export interface StagingRound {
  /** Nodes that need the image and may begin now, in the order of slots. */
  readonly candidates: readonly Candidate[];
  /** Every node that the OSImage selects. */
  readonly members: readonly Member[];
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

/** Names of the nodes that get a place now, in order. */
export function stagingPlaces(round: StagingRound): readonly string[] {
  const { candidates, members, max, lookahead } = round;
  const holders = members.filter(({ os }) => os !== undefined && holdsPlace(os));
  const next = lookahead === undefined ? candidates : nextOf(candidates, holders, members, lookahead);
  let taken = holders.length;
  return next.flatMap(({ member, os }) => {
    // A node whose target changed under it keeps its place. One that is to lose it has it until that is written.
    if (holdsPlace(os) ? taken > max : taken >= max) return [];
    if (!holdsPlace(os)) taken += 1;
    return [member.node.name];
  });
}

/** The candidates that come next. Those below a foreign cordon always do: a slot for them costs the fleet nothing. */
function nextOf(
  candidates: readonly Candidate[],
  holders: readonly Member[],
  members: readonly Member[],
  { nodes, heldBack, stuck }: Lookahead,
): readonly Candidate[] {
  const counts = ({ node }: Member): boolean => !node.cordoned && !heldBack.has(node.name);
  const ahead = stuck
    ? []
    : members.filter(
        ({ os, target }) =>
          os !== undefined &&
          target !== undefined &&
          !holdsSlot(os) &&
          !holdsPlace(os) &&
          stagedDigest(os) === target.digest,
      );
  const waiting = new Set(candidates.map(({ member }) => member.node.name));
  const fetching = holders.filter(({ node }) => !waiting.has(node.name));
  let free = nodes - [...fetching, ...ahead].filter(counts).length;
  return candidates.filter(({ member }) => !counts(member) || free-- > 0);
}

/** True while the node may be fetching: from before its order is written until the phase that follows is. */
export function holdsPlace(os: NodeOS): boolean {
  return os.status?.rollout?.stagingTime !== undefined;
}
