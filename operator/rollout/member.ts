/** One node of the fleet with everything that is known and decided about it, and the questions that are asked of it. */
import type { NodeOS } from '../../api/index.ts';
import type { LeaseStanding } from './maintenance-lease.ts';
import type { Membership } from './membership.ts';
import type { NodeFacts } from './node-facts.ts';
import type { Step } from './node-view.ts';
import type { Kept, Premises } from './plan-memory.ts';
import type { DrainSnapshot, NodeSnapshot } from './snapshot.ts';
import type { NodeTarget } from './target.ts';

/** One node with its NodeOS, and what is decided about it. */
export interface Member {
  readonly node: NodeSnapshot;
  readonly membership: Membership;
  /** The NodeOS of this very Node; absent until it has been created. */
  readonly os?: NodeOS | undefined;
  readonly target?: NodeTarget | undefined;
  readonly facts: NodeFacts;
  readonly step?: Step | undefined;
  /** What the drainer last saw on the node. */
  readonly drain?: DrainSnapshot | undefined;
  /** Whose turn the node is; absent while maintenance leases are not turned on. */
  readonly lease?: LeaseStanding | undefined;
  /** What was decided in a plan before; its step is that of the member, unless the fleet had its say. */
  readonly recalled?: Kept | undefined;
  /** What `step` rests on, where it was worked out anew and rests on nothing else: the fleet has not had its say. */
  readonly premises?: Premises | undefined;
}

/** Names, at most five of them, for a sentence. */
export function namesOf(members: readonly Member[]): string {
  const names = members.map(({ node }) => node.name).toSorted(compare);
  const shown = names.slice(0, 5).join(', ');
  return names.length > 5 ? `${shown} and ${names.length - 5} more` : shown;
}

function compare(left: string, right: string): number {
  return left < right ? -1 : left > right ? 1 : 0;
}
