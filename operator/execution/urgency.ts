/** Which parts of a plan are carried out first, when there is more to do than a moment allows. */
import type { NodeOS } from '../../api/index.ts';
import type { ObjectCache } from '../kube/object-cache.ts';
import type { Action } from '../rollout/action.ts';

/** What many nodes need at once when the target changes, and what none of them waits for. */
const PATIENT: ReadonlySet<Action['kind']> = new Set(['CreateNodeOS', 'WriteRollout', 'Mark', 'Emit']);

/**
 * `subjects` with those first that somebody waits for: OSImages, and nodes that hold a slot or a staging place or are given
 * something to do. The order is otherwise kept.
 */
export function mostUrgentFirst(
  subjects: readonly (readonly Action[])[],
  nodeOSes: Pick<ObjectCache<NodeOS>, 'get'>,
): readonly (readonly Action[])[] {
  const { urgent = [], patient = [] } = Object.groupBy(subjects, (actions) =>
    actions.some((action) => isUrgent(action, nodeOSes)) ? 'urgent' : 'patient',
  );
  return [...urgent, ...patient];
}

function isUrgent(action: Action, nodeOSes: Pick<ObjectCache<NodeOS>, 'get'>): boolean {
  if (!PATIENT.has(action.kind)) return true;
  if (action.kind !== 'WriteRollout') return false;
  const before = nodeOSes.get(action.name)?.status?.rollout;
  return [before, action.status.rollout].some((one) => one?.slotTime !== undefined || one?.stagingTime !== undefined);
}
