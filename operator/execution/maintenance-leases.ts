/** Taking, renewing and giving back the maintenance lease of a node, each on the version that was decided on. */
import type { Clock } from '../clock.ts';
import { OperatorError, isKubeError } from '../errors.ts';
import { microTime } from '../kube/leader-election.ts';
import { HOLDER, leaseNameOf } from '../kube/maintenance-leases.ts';
import type { MaintenanceLease, MaintenanceLeaseApi } from '../kube/maintenance-leases.ts';
import type { ObjectCache } from '../kube/object-cache.ts';
import type { Action } from '../rollout/action.ts';
import { LEASE_SECONDS } from '../rollout/maintenance-lease.ts';

type ActionOf<K extends Action['kind']> = Extract<Action, { readonly kind: K }>;

interface Context {
  /** Absent: `--maintenance-leases` was not given, and no plan asks for any of this. */
  readonly leases: { readonly api: MaintenanceLeaseApi; readonly cache: ObjectCache<MaintenanceLease> } | undefined;
  readonly clock: Clock;
}

/** Takes the lease, or renews it if it is ours. Throws `OperatorError` `StalePicture` when it is no longer what was decided on. */
export async function takeLease({ leases, clock }: Context, action: ActionOf<'TakeLease'>): Promise<void> {
  const { api, cache } = turnedOn(leases);
  const { node, nodeUID, resourceVersion } = action;
  const name = leaseNameOf(node);
  const held = heldAt(cache, name, resourceVersion);
  const now = microTime(clock.now());
  const owner = { apiVersion: 'v1', kind: 'Node', name: node, uid: nodeUID };
  const fresh = { holderIdentity: HOLDER, leaseDurationSeconds: LEASE_SECONDS, renewTime: now };
  if (held === undefined) {
    try {
      const spec = { ...fresh, acquireTime: now, leaseTransitions: 0 };
      cache.observe(await api.create({ name, ownerReferences: [owner] }, spec));
    } catch (error) {
      // Otherwise it would pass for a picture that was old.
      if (!isKubeError(error, 'NotFound')) throw error;
      const message = `the namespace of --maintenance-leases is not there, so no node is disturbed; create it: ${error.message}`;
      throw new OperatorError('InvalidOptions', message, error);
    }
    return;
  }
  const { acquireTime = now, leaseTransitions = 0, holderIdentity } = held.spec;
  const since =
    holderIdentity === HOLDER
      ? { acquireTime, leaseTransitions }
      : { acquireTime: now, leaseTransitions: leaseTransitions + 1 };
  const metadata = { name, resourceVersion: held.metadata.resourceVersion, ownerReferences: [owner] };
  cache.observe(await api.replace(metadata, { ...fresh, ...since }));
}

/** Deletes the lease, which is how the others' convention gives one back. */
export async function giveUpLease({ leases }: Context, action: ActionOf<'GiveUpLease'>): Promise<void> {
  const { api, cache } = turnedOn(leases);
  const held = heldAt(cache, leaseNameOf(action.node), action.resourceVersion);
  if (held === undefined) return;
  try {
    await api.delete(held);
  } catch (error) {
    if (!isKubeError(error, 'NotFound')) throw error;
  }
  cache.forget(held.metadata.name, held.metadata.uid);
}

/** Reads the lease of `node` anew, so that the next plan does not rest on the same old picture. */
export async function readLeaseAnew({ leases }: Context, node: string): Promise<void> {
  const { api, cache } = turnedOn(leases);
  const name = leaseNameOf(node);
  try {
    cache.observe(await api.get(name));
  } catch (error) {
    if (!isKubeError(error, 'NotFound')) throw error;
    const held = cache.get(name);
    if (held !== undefined) cache.forget(name, held.metadata.uid);
  }
}

function turnedOn(leases: Context['leases']): NonNullable<Context['leases']> {
  if (leases === undefined) throw new OperatorError('StalePicture', 'maintenance leases are not turned on');
  return leases;
}

function heldAt(
  cache: ObjectCache<MaintenanceLease>,
  name: string,
  resourceVersion: string | undefined,
): MaintenanceLease | undefined {
  const held = cache.get(name);
  if (held?.metadata.resourceVersion === resourceVersion) return held;
  throw new OperatorError('StalePicture', `Lease ${name} has changed since the plan was made`);
}
