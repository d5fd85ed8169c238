/** The drainer of the simulated world, and what the marks of a Node come to there. */
import type { Action, NodeMarks } from '../../../operator/rollout/action.ts';
import type { DrainOrder } from '../../../operator/rollout/snapshot.ts';
import type { World } from './world.ts';
import type { WorldNode } from './world-node.ts';

/** One round over the pods of a node: some leave, or a disruption budget refuses all of them. */
export function drainTurn(world: World, name: string, how: DrainOrder): void {
  const node = world.nodes.get(name);
  if (node === undefined || !node.cordoned) return;
  const { machine } = node;
  if (how.mode === 'Await') return void world.drains.set(name, { how, podsLeft: 0, refusals: [] });
  const refused = how.mode === 'Evict' && machine.pods > 0 && world.chance(world.rates.refusal);
  if (!refused) machine.pods = Math.max(0, machine.pods - 2);
  const message = "Cannot evict pod as it would violate the pod's disruption budget.";
  const refusals = refused
    ? [{ namespace: 'shop', pod: `cart-${name}`, budget: 'cart', message, since: world.now }]
    : [];
  world.drains.set(name, { how, podsLeft: machine.pods, refusals });
}

/** How a drain would go: nothing leaves. */
export function tryTurn(world: World, name: string, how: DrainOrder): void {
  const message = "Cannot evict pod as it would violate the pod's disruption budget.";
  const refused = world.chance(world.rates.refusal);
  const refusals = refused
    ? [{ namespace: 'shop', pod: `cart-${name}`, budget: 'cart', message, since: world.now }]
    : [];
  world.dryRuns.set(name, { how, refusals });
}

/** True for what only looks at pods and other objects: a plan of such actions changes nothing in the API but pods. */
export function isLook({ kind }: Action): boolean {
  return kind === 'Drain' || kind === 'DryRun' || kind === 'Check' || kind === 'Alerts';
}

/** Puts on a Node, or takes off, what a write of ours says. */
export function mark(node: WorldNode, marks: NodeMarks): void {
  if (marks.slot !== undefined) node.marked = marks.slot === 'On';
  if (marks.outdated !== undefined) node.outdated = marks.outdated;
  if (marks.gated !== undefined) node.gated = marks.gated;
}
