/** Who gets a slot. Several may be granted in one plan; each is counted before the next. */
import type { Budget } from './budget.ts';
import type { NodeView } from './node-view.ts';
import { stableHash } from './stable-hash.ts';

/**
 * Names of the nodes among `candidates` that get a slot now, in order. A node that is unavailable already (a foreign
 * cordon) costs nothing more, but even it is granted only while the fleet is within its budget.
 */
export function grants(candidates: readonly NodeView[], budget: Budget, digest: string): readonly string[] {
  const unavailable = new Set(budget.unavailable);
  const granted: string[] = [];
  for (const { node } of inTurn(candidates, digest)) {
    const afterwards = unavailable.has(node.name) ? unavailable.size : unavailable.size + 1;
    if (afterwards > budget.max) continue;
    unavailable.add(node.name);
    granted.push(node.name);
  }
  return granted;
}

/**
 * Not alphabetical: names encode racks and zones, so the alphabet would empty one rack after the other and always try a
 * new image on the same machine first. The order is fixed for one digest, so that a restarted operator goes on with it,
 * and another for the next. Nodes that have failed at something come last: they cost the most time.
 */
export function inTurn(candidates: readonly NodeView[], digest: string): readonly NodeView[] {
  const keyed = candidates.map((view) => ({
    view,
    failed: (view.os.status?.rollout?.attempts ?? 0) > 0 ? 1 : 0,
    turn: stableHash(`${view.node.uid} ${digest}`),
  }));
  keyed.sort(
    (left, right) =>
      left.failed - right.failed || left.turn - right.turn || (left.view.node.name < right.view.node.name ? -1 : 1),
  );
  return keyed.map(({ view }) => view);
}
