/**
 * `spec.rollout.topology`: budgets for the domains that a label makes, such as zones and racks. Every unavailable selected
 * node counts in its domain, whoever caused it.
 */
import type { OSImage, TopologyBudget } from '../../api/index.ts';
import { countOf, isUnavailable } from './budget.ts';
import type { Census } from './census.ts';
import type { Obstacle } from './obstacle.ts';
import type { Candidate, GateView } from './slot-gates.ts';
import type { SlotLimit } from './slots.ts';
import type { NodeSnapshot } from './snapshot.ts';
import type { Rank } from './turn.ts';

/** What is known of one domain, counting what is durable. */
export interface Domain {
  /** How many of its nodes may be unavailable. */
  readonly max: number;
  readonly unavailable: number;
  /** A node of it holds a slot. */
  readonly inProgress: boolean;
  /** Some of its nodes run the target, and some do not. */
  readonly begun: boolean;
}

/** One entry of `spec.rollout.topology`, with its domains by value of the label. */
export interface Topology {
  readonly budget: TopologyBudget;
  readonly domains: Domains;
  readonly inProgress: number;
  /** Told of nodes whose domain has no room. */
  readonly spent: Obstacle;
  /** Told of nodes whose domain may not be begun yet. */
  readonly crowded: Obstacle;
}

type Domains = ReadonlyMap<string, Domain>;

/** Counts the domains of `image` over `members`, all nodes that it selects. */
export function topologiesOf({ spec }: OSImage, { members }: Census): readonly Topology[] {
  return spec.rollout.topology.map((budget) => {
    const counts = new Map<string, { nodes: number; unavailable: number; slots: number; updated: number }>();
    for (const { node, facts } of members) {
      const value = domainOf(budget, node);
      const count = counts.get(value) ?? { nodes: 0, unavailable: 0, slots: 0, updated: 0 };
      counts.set(value, count);
      count.nodes += 1;
      if (facts.unavailable) count.unavailable += 1;
      if (facts.holdsSlot) count.slots += 1;
      if (facts.updated) count.updated += 1;
    }
    const domains: Domains = new Map(
      [...counts].map(([value, { nodes, unavailable, slots, updated }]) => [
        value,
        {
          max: budget.maxUnavailable === undefined ? nodes : countOf(budget.maxUnavailable, nodes),
          unavailable,
          inProgress: slots > 0,
          begun: updated > 0 && updated < nodes,
        },
      ]),
    );
    return {
      budget,
      domains,
      inProgress: [...domains.values()].filter(({ inProgress }) => inProgress).length,
      spent: domainsSpent(budget, domains),
      crowded: domainsInProgress(budget, domains),
    };
  });
}

/** As many more as each domain has room for, in as many domains as may be in progress. */
export function withinTopology(topology: Topology): SlotLimit {
  const taken = new Map<string, number>();
  const entered = new Set<string>();
  return {
    admits: ({ node, os }) => {
      const value = domainOf(topology.budget, node);
      const open = entered.has(value) || mayEnter(topology, value, entered.size);
      return open && hasRoom(topology, value, isUnavailable(node, os), taken.get(value) ?? 0);
    },
    take: ({ node, os }) => {
      const value = domainOf(topology.budget, node);
      if (!isUnavailable(node, os)) taken.set(value, (taken.get(value) ?? 0) + 1);
      if (topology.domains.get(value)?.inProgress !== true) entered.add(value);
    },
  };
}

/** A domain in which a node holds a slot comes first, then one that has begun; only where domains are bounded. */
export function domainRank({ budget, domains }: Topology): Rank {
  if (budget.maxDomainsInProgress === undefined) return () => 0;
  return ({ node }) => {
    const domain = domains.get(domainOf(budget, node));
    return domain?.inProgress === true ? 0 : domain?.begun === true ? 1 : 2;
  };
}

/** A gate of slots: the domain of the node has no room, or may not be begun yet. */
export function noRoomInDomain(
  { member: { node, facts } }: Pick<Candidate, 'member'>,
  { topologies }: GateView,
): Obstacle | undefined {
  for (const topology of topologies) {
    const { budget } = topology;
    const value = domainOf(budget, node);
    if (!hasRoom(topology, value, facts.unavailable, 0)) return topology.spent;
    if (!mayEnter(topology, value, 0)) return topology.crowded;
  }
  return undefined;
}

function domainOf({ key }: TopologyBudget, node: NodeSnapshot): string {
  return node.labels[key] ?? '';
}

function hasRoom({ domains }: Topology, value: string, already: boolean, taken: number): boolean {
  const domain = domains.get(value);
  return domain === undefined || domain.unavailable + taken + (already ? 0 : 1) <= domain.max;
}

function mayEnter({ budget, domains, inProgress }: Topology, value: string, entered: number): boolean {
  const { maxDomainsInProgress: max } = budget;
  return max === undefined || domains.get(value)?.inProgress === true || inProgress + entered < max;
}

function domainsSpent({ key }: TopologyBudget, domains: Domains): Obstacle {
  const names = [...domains]
    .filter(([, { unavailable, max }]) => unavailable >= max)
    .map(([value, { unavailable, max }]) => `${value || 'no label'}: ${unavailable} of at most ${max}`);
  const message = `Domains of ${key} have as many unavailable nodes as they may (${shown(names)}; spec.rollout.topology maxUnavailable); their next slot is free when a node of theirs is back.`;
  return { type: 'DomainBudgetSpent', message };
}

function domainsInProgress({ key, maxDomainsInProgress }: TopologyBudget, domains: Domains): Obstacle {
  const names = [...domains].filter(([, { inProgress }]) => inProgress).map(([value]) => value || 'no label');
  const message = `Nodes hold slots in as many domains of ${key} as may be in progress at once (${shown(names)}; spec.rollout.topology maxDomainsInProgress ${maxDomainsInProgress}); the next is begun when one of these has no node in a slot.`;
  return { type: 'DomainsInProgress', message };
}

function shown(names: readonly string[]): string {
  const sorted = names.toSorted();
  return sorted.length > 5 ? `${sorted.slice(0, 5).join(', ')} and ${sorted.length - 5} more` : sorted.join(', ');
}
