/**
 * The Lease by which those who maintain a node agree who may disturb it now. The convention is medik8s'
 * (github.com/medik8s/common, pkg/lease): one Lease per node in an agreed namespace, named after the node, owned by it,
 * good for its duration after the last renewal, deleted when it is given back. Wall clocks are compared, as its other
 * parties compare them.
 */
import { OPERATOR_FIELD_MANAGER, type ObjectMeta } from '../../api/index.ts';
import type { Connection } from './connection.ts';

/** As what Treeline holds a lease. The same for all replicas: what one has begun the next one goes on with. */
export const HOLDER = 'treeline';

export interface MaintenanceLease {
  readonly metadata: ObjectMeta;
  readonly spec: {
    readonly holderIdentity?: string;
    readonly leaseDurationSeconds?: number;
    readonly acquireTime?: string;
    readonly renewTime?: string;
    readonly leaseTransitions?: number;
  };
}

/** Every method throws `KubeError`. */
export interface MaintenanceLeaseApi {
  readonly path: string;
  get(name: string): Promise<MaintenanceLease>;
  create(metadata: LeaseMetadata, spec: MaintenanceLease['spec']): Promise<MaintenanceLease>;
  /** 409 unless `metadata.resourceVersion` is current. */
  replace(metadata: LeaseMetadata, spec: MaintenanceLease['spec']): Promise<MaintenanceLease>;
  /** 409 unless it is still the very object, in the very version, that `lease` is. */
  delete(lease: MaintenanceLease): Promise<void>;
}

export interface LeaseMetadata {
  readonly name: string;
  readonly resourceVersion?: string;
  readonly ownerReferences: readonly object[];
}

/** Name of the Lease of `node`. */
export function leaseNameOf(node: string): string {
  return `node-${node}`.toLowerCase();
}

export function trimMaintenanceLease(raw: unknown): MaintenanceLease {
  const { metadata, spec = {} } = raw as { readonly metadata: ObjectMeta; readonly spec?: MaintenanceLease['spec'] };
  const { name, uid, resourceVersion } = metadata;
  const { holderIdentity, leaseDurationSeconds, acquireTime, renewTime, leaseTransitions } = spec;
  return {
    metadata: { name, uid, resourceVersion },
    spec: {
      ...(holderIdentity !== undefined && { holderIdentity }),
      ...(leaseDurationSeconds !== undefined && { leaseDurationSeconds }),
      ...(acquireTime !== undefined && { acquireTime }),
      ...(renewTime !== undefined && { renewTime }),
      ...(leaseTransitions !== undefined && { leaseTransitions }),
    },
  };
}

/** The leases in `namespace`. */
export function maintenanceLeaseApi(connection: Connection, namespace: string): MaintenanceLeaseApi {
  const path = `/apis/coordination.k8s.io/v1/namespaces/${encodeURIComponent(namespace)}/leases`;
  const item = (name: string) => `${path}/${encodeURIComponent(name)}`;
  const query = { fieldManager: OPERATOR_FIELD_MANAGER };
  const kind = { apiVersion: 'coordination.k8s.io/v1', kind: 'Lease' };
  return {
    path,
    get: async (name) => trimMaintenanceLease(await connection.call('GET', item(name))),
    create: async (metadata, spec) =>
      trimMaintenanceLease(await connection.call('POST', path, { body: { ...kind, metadata, spec }, query })),
    replace: async (metadata, spec) =>
      trimMaintenanceLease(
        await connection.call('PUT', item(metadata.name), { body: { ...kind, metadata, spec }, query }),
      ),
    delete: async ({ metadata: { name, uid, resourceVersion } }) => {
      const body = { apiVersion: 'v1', kind: 'DeleteOptions', preconditions: { uid, resourceVersion } };
      await connection.call('DELETE', item(name), { body });
    },
  };
}
