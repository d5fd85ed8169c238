/** Whether the pods of a node have anywhere to go. */
import type { NodeSnapshot } from './snapshot.ts';

/**
 * True when another node exists where what runs on `node` could run: one without a taint that `node` does not have too.
 * That it is cordoned or not Ready just now does not matter: it comes back, and so pods are not cut off for a moment's sake.
 */
export function hasRefuge(node: NodeSnapshot, nodes: readonly NodeSnapshot[]): boolean {
  return nodes.some(
    (other) => other.uid !== node.uid && !other.deleting && other.repels.every((taint) => node.repels.includes(taint)),
  );
}
