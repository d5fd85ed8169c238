/** The maintenance leases of the simulated world, and the others who hold some of them. */
import type { Action } from '../../../operator/rollout/action.ts';
import type { LeaseSnapshot } from '../../../operator/rollout/snapshot.ts';
import type { World } from './world.ts';

export interface WorldLease {
  readonly resourceVersion: string;
  readonly holder: string;
  /** In milliseconds of the world's time. */
  readonly renewed: number;
  readonly seconds: number;
}

const OURS = 'treeline';

export function leasesSeen(leases: ReadonlyMap<string, WorldLease>): ReadonlyMap<string, LeaseSnapshot> {
  return new Map([...leases].map(([node, lease]) => [node, seen(node, lease)]));
}

function seen(node: string, { resourceVersion, holder, renewed, seconds }: WorldLease): LeaseSnapshot {
  const object = `Lease/medik8s-leases/node-${node}`;
  const end = new Date(renewed + seconds * 1000);
  return { resourceVersion, object, holder, ours: holder === OURS, durationSeconds: seconds, end };
}

/** Carries out a write of ours; false when the API server would refuse it. */
export function leaseTurn(world: World, action: Action & { kind: 'TakeLease' | 'GiveUpLease' }): boolean {
  const { node, resourceVersion } = action;
  const held = world.leases?.get(node);
  if (world.leases === undefined || held?.resourceVersion !== resourceVersion) return false;
  if (action.kind === 'GiveUpLease') return world.leases.delete(node);
  world.leases.set(node, { holder: OURS, renewed: world.time, seconds: 3600, resourceVersion: world.unique('rv') });
  return true;
}

/** Somebody else takes the node if they may, renews what they hold, or gives it back. */
export function maintainByOthers(world: World, node: string): void {
  const { leases } = world;
  if (leases === undefined) return;
  const held = leases.get(node);
  const good = held !== undefined && held.renewed + held.seconds * 1000 > world.time;
  if (good && held.holder === OURS) {
    // By hand; nobody who keeps to the convention does so.
    if (!world.chance(0.3)) return;
    leases.delete(node);
    if (world.chance(0.5)) return;
  }
  if (good && world.chance(0.4)) return void leases.delete(node);
  const seconds = world.pick([30, 120, 900, 3600]) ?? 30;
  leases.set(node, { holder: 'node-maintenance', renewed: world.time, seconds, resourceVersion: world.unique('rv') });
}

/** The others give back all that they hold. */
export function leaveLeasesAlone({ leases }: World): void {
  for (const [node, { holder }] of leases ?? []) if (holder !== OURS) leases?.delete(node);
}

/** Nodes that we hold. */
export function heldByUs({ leases }: World): readonly string[] {
  return [...(leases ?? [])].filter(([, { holder }]) => holder === OURS).map(([node]) => node);
}
