/** How a cordon says that it is for a host that asked to reboot, and not for a slot. */
import type { NodeSnapshot } from './snapshot.ts';

const PREFIX = 'fleet-lock:';

/** What the annotation of the cordon says for a lock that `id` holds. */
export function lockMark(id: string): string {
  return `${PREFIX}${id}`;
}

/** True while `node` is cordoned for a host that asked for its reboot. Whoever lifts that cordon has given the lock back. */
export function isRebootLocked({ cordoned, cordonedBy }: Pick<NodeSnapshot, 'cordoned' | 'cordonedBy'>): boolean {
  return cordoned && cordonedBy?.startsWith(PREFIX) === true;
}
