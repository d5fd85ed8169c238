/** Which parts of a plan are carried out first, when there is more to do than a moment allows. */
import type { NodeOS } from '../../api/index.ts';
import type { ObjectCache } from '../kube/object-cache.ts';
import type { Action } from '../rollout/action.ts';

/** What many nodes need at once when the target changes, and what none of them waits for. */
const PATIENT: ReadonlySet<Action['kind']> = new Set(['CreateNodeOS', 'WriteRollout', 'Mark', 'Emit']);

/** What a plan wants to be done about one subject, in this order. */
export interface Errand {
  readonly subject: string;
  readonly actions: readonly Action[];
  /** Milliseconds on a clock that never jumps: since when plans have wanted something to be done about the subject. */
  readonly sinceMs: number;
}

/**
 * `errands` with those first that somebody waits for: OSImages, and nodes that hold a slot or a staging place or are given
 * something to do. Of these, who has waited longest goes first: the place in a plan is always the same, and whoever is at its end
 * would be passed over each time there is too much to do. The order is otherwise kept.
 */
export function mostUrgentFirst(
  errands: readonly Errand[],
  nodeOSes: Pick<ObjectCache<NodeOS>, 'get'>,
): readonly Errand[] {
  const { urgent = [], patient = [] } = Object.groupBy(errands, ({ actions }) =>
    actions.some((action) => isUrgent(action, nodeOSes)) ? 'urgent' : 'patient',
  );
  return [...urgent.toSorted((one, other) => one.sinceMs - other.sinceMs), ...patient];
}

function isUrgent(action: Action, nodeOSes: Pick<ObjectCache<NodeOS>, 'get'>): boolean {
  if (!PATIENT.has(action.kind)) return true;
  if (action.kind !== 'WriteRollout') return false;
  const before = nodeOSes.get(action.name)?.status?.rollout;
  return [before, action.status.rollout].some((one) => one?.slotTime !== undefined || one?.stagingTime !== undefined);
}
