/**
 * The drain of a node is tried by a dry run before the node gets a slot, so that nodes which can move now go first and
 * nothing is cordoned in vain. A look that says yes need not stay true; the drain itself asks again.
 */
import { drainOrder } from './drain-order.ts';
import { holdoutSentence } from './drain-sentences.ts';
import type { NodeView } from './node-view.ts';
import type { Obstacle } from './obstacle.ts';
import { sameContent } from './same-content.ts';
import type { DrainOrder, DryRunSnapshot } from './snapshot.ts';

/** Nodes that are tried beyond those that could have a slot now, once some were refused: the next is then known. */
export const LOOKAHEAD = 3;

/** What a node would have to pass; undefined when nothing would be evicted from it. */
export function dryRunOrder(view: NodeView): DrainOrder | undefined {
  const order = drainOrder(view);
  return order.mode === 'Evict' ? order : undefined;
}

/** What was last heard of the node, if it was asked as it would be asked now. */
export function lastDryRun(view: NodeView, dryRuns: ReadonlyMap<string, DryRunSnapshot>): DryRunSnapshot | undefined {
  const heard = dryRuns.get(view.node.name);
  const order = dryRunOrder(view);
  if (heard === undefined || order === undefined) return undefined;
  return heard.how === undefined || sameContent(heard.how, order) ? heard : undefined;
}

/** True when nobody has said yet how the drain of the node would go. */
export function isUntried(view: NodeView, dryRuns: ReadonlyMap<string, DryRunSnapshot>): boolean {
  return dryRunOrder(view) !== undefined && lastDryRun(view, dryRuns) === undefined;
}

/** What would hold the drain of the node up, if anything. */
export function wouldBeRefused(view: NodeView, dryRuns: ReadonlyMap<string, DryRunSnapshot>): Obstacle | undefined {
  const heard = lastDryRun(view, dryRuns);
  const { name } = view.node;
  const base = { type: 'DrainWouldBeRefused', node: name } as const;
  const [holdout] = heard?.holdouts ?? [];
  if (holdout !== undefined) {
    const object = `Pod/${holdout.namespace}/${holdout.pod}`;
    return {
      ...base,
      object,
      message: `${name} gets no slot yet, and others go first: ${holdoutSentence(name, holdout)}`,
    };
  }
  const [refusal] = heard?.refusals ?? [];
  if (refusal === undefined) return undefined;
  const pod = `${refusal.namespace}/${refusal.pod}`;
  const budget =
    refusal.budget === undefined ? 'its budget' : `PodDisruptionBudget ${refusal.namespace}/${refusal.budget}`;
  const message = `${name} gets no slot yet, and others go first: pod ${pod} could not leave it; the API server says: "${refusal.message}". It is asked again: give ${budget} room (more healthy replicas elsewhere, or a larger budget), or delete the pod yourself.`;
  return { ...base, object: `Pod/${pod}`, message, since: refusal.since };
}

/** True when only disruption budgets stand against the drain, and they would be passed by in the end. */
export function wouldBeForced(view: NodeView, dryRuns: ReadonlyMap<string, DryRunSnapshot>): boolean {
  const { timeoutAction, timeoutSeconds } = view.drainPolicy;
  const heard = lastDryRun(view, dryRuns);
  return timeoutAction === 'Delete' && timeoutSeconds > 0 && (heard?.holdouts ?? []).length === 0;
}
