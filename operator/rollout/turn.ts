/** Whose turn it is: the order in which nodes that could take a slot, or a staging place, are asked. */
import type { OSImage } from '../../api/index.ts';
import { isControlPlane } from './control-plane-care.ts';
import type { NodeView } from './node-view.ts';
import type { Candidate } from './slot-gates.ts';
import type { NodeSnapshot } from './snapshot.ts';
import { stableHash } from './stable-hash.ts';
import { stepRank } from './steps.ts';
import { domainRank } from './topology-budget.ts';
import type { Topology } from './topology-budget.ts';

/** A node that asks for a slot or a staging place, with all that its turn depends on. */
export type Asking = Pick<NodeView, 'node' | 'os'>;

/** What tells nodes apart: the smaller number comes first. */
export type Rank = (one: Asking) => number;

/** How the nodes of one OSImage are put in order for one target, in one plan. */
export interface Turn {
  /** The ranks of a node, most important first. */
  readonly keyOf: (one: Asking) => readonly number[];
}

/**
 * The order of `spec.rollout.order` for the target `digest`, in which domains that have begun are finished. Where nothing
 * tells nodes apart, not alphabetical: names encode racks and zones, so the alphabet would empty one rack after the other and
 * always try a new image on the same machine first. The order is fixed for one digest, so that a restarted operator goes on
 * with it, and another for the next.
 */
export function turnOf(image: OSImage, digest: string, topologies: readonly Topology[] = []): Turn {
  const { spec } = image;
  const { controlPlane, by } = spec.rollout.order;
  const ranks: Rank[] = spec.rollout.steps.length === 0 ? [] : [stepRank(image)];
  if (controlPlane === 'First') ranks.push(({ node }) => (isControlPlane(node) ? 0 : 1));
  if (controlPlane === 'Last') ranks.push(({ node }) => (isControlPlane(node) ? 1 : 0));
  // Nodes that have failed at something come last, those that fail over and over at the very end: they cost the most time.
  ranks.push(({ os }) => os.status?.rollout?.attempts ?? 0);
  ranks.push(...topologies.map(domainRank));
  for (const { criterion, label = '' } of by) {
    switch (criterion) {
      case 'OldestFirst':
        ranks.push(({ node }) => node.created?.getTime() ?? 0);
        break;
      case 'NewestFirst':
        ranks.push(({ node }) => -(node.created?.getTime() ?? 0));
        break;
      case 'Label':
        ranks.push(({ node }) => -wholeNumber(node.labels[label]));
    }
  }
  ranks.push(({ node }) => chance(node, digest));
  return { keyOf: (view) => ranks.map((rank) => rank(view)) };
}

/** What the turn of a candidate depends on. */
export function asking({ member: { node }, os }: Candidate): Asking {
  return { node, os };
}

/** The last draws: a node has one for each digest, and is asked in every plan. */
const draws = new WeakMap<NodeSnapshot, { readonly digest: string; readonly draw: number }>();

function chance(node: NodeSnapshot, digest: string): number {
  const known = draws.get(node);
  if (known?.digest === digest) return known.draw;
  const draw = stableHash(`${node.uid} ${digest}`);
  draws.set(node, { digest, draw });
  return draw;
}

/** `candidates`, who comes first in front. */
export function inTurn(candidates: readonly Asking[], turn: Turn): readonly Asking[] {
  return firstInTurn(candidates, turn, candidates.length);
}

/** The `count` of `candidates` who come first, in front who comes first of all. Thousands need not be put in order for a few. */
export function firstInTurn(candidates: readonly Asking[], { keyOf }: Turn, count: number): readonly Asking[] {
  const first: Keyed[] = [];
  // Sorted and cut whenever it is twice too long; from then on, who comes after the last of it need not be kept.
  let last: Keyed | undefined;
  const cut = () => {
    first.sort(order);
    first.length = Math.min(first.length, count);
    last = first.length === count ? first.at(-1) : undefined;
  };
  for (const view of candidates) {
    const keyed = { view, key: keyOf(view) };
    if (last !== undefined && order(keyed, last) > 0) continue;
    first.push(keyed);
    if (first.length >= 2 * count) cut();
  }
  cut();
  return first.map(({ view }) => view);
}

interface Keyed {
  readonly view: Asking;
  readonly key: readonly number[];
}

function order(left: Keyed, right: Keyed): number {
  return compare(left.key, right.key) || (left.view.node.name < right.view.node.name ? -1 : 1);
}

function compare(left: readonly number[], right: readonly number[]): number {
  for (let index = 0; index < left.length; index++) {
    const difference = (left[index] ?? 0) - (right[index] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

function wholeNumber(value: string | undefined): number {
  return value !== undefined && /^-?\d{1,9}$/.test(value) ? Number(value) : 0;
}
