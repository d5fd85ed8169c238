/** The caches that the operator plans on, and the consistent picture that a plan is made from. */
import {
  CORDONED_BY_ANNOTATION,
  MARKS_ANNOTATION,
  NOT_READY_TAINT,
  OUTDATED_TAINT,
  type NodeOS,
  type OSImage,
} from '../api/index.ts';
import { HOLDER, leaseNameOf } from './kube/maintenance-leases.ts';
import type { MaintenanceLease } from './kube/maintenance-leases.ts';
import { apiServersByNode } from './kube/api-server-pods.ts';
import type { ApiServerPod } from './kube/api-server-pods.ts';
import { ObjectCache, type CachedObject } from './kube/object-cache.ts';
import type { Node, Taint } from './kube/objects.ts';
import type {
  AlertsSnapshot,
  CheckSnapshot,
  DrainSnapshot,
  DryRunSnapshot,
  ImageSnapshot,
  LeaseSnapshot,
  NodeSnapshot,
  Resolution,
  ResolvedImage,
  Snapshot,
} from './rollout/snapshot.ts';

export interface Fleet {
  /** Those that run as pods. */
  readonly apiServers: ObjectCache<ApiServerPod>;
  readonly nodes: ObjectCache<Node>;
  readonly nodeOSes: ObjectCache<NodeOS>;
  readonly images: ObjectCache<OSImage>;
  /** Of the namespace `leaseNamespace`; absent where the operator takes no part in maintenance leases. */
  readonly leases?: ObjectCache<MaintenanceLease>;
  readonly leaseNamespace?: string;
}

export function createFleet(leaseNamespace?: string): Fleet {
  const ours = {
    apiServers: new ObjectCache<ApiServerPod>(),
    nodes: new ObjectCache<Node>(),
    nodeOSes: new ObjectCache<NodeOS>(),
    images: new ObjectCache<OSImage>(),
  };
  return leaseNamespace === undefined ? ours : { ...ours, leases: new ObjectCache<MaintenanceLease>(), leaseNamespace };
}

export function hasSynced(fleet: Fleet): boolean {
  return cachesOf(fleet).every(({ hasSynced }) => hasSynced);
}

/** Every cache that a plan is made on. */
export function cachesOf({
  apiServers,
  images,
  nodeOSes,
  nodes,
  leases,
}: Fleet): readonly Pick<ObjectCache<CachedObject>, 'hasSynced' | 'onChange'>[] {
  return [apiServers, images, nodeOSes, nodes, ...(leases === undefined ? [] : [leases])];
}

/** Builds the planner's picture. Sorted by name, so that the same state gives the same plan after a restart. */
export function takeSnapshot(
  fleet: Fleet,
  images: {
    readonly resolution: (image: OSImage) => Resolution;
    readonly target: (image: OSImage) => ResolvedImage | undefined;
    readonly unverifiedTarget?: (image: OSImage) => ImageSnapshot['unverifiedTarget'];
  },
  drainer: { readonly report: (node: string, slot: string) => DrainSnapshot | undefined },
  rehearsals: { readonly report: (node: string, candidate: string) => DryRunSnapshot | undefined },
  checks: { readonly report: () => ReadonlyMap<string, CheckSnapshot> },
  alerts: { readonly report: () => ReadonlyMap<string, AlertsSnapshot> },
): Snapshot {
  const nodeOSes = byName(fleet.nodeOSes.values());
  const apiServers = apiServersByNode(fleet.apiServers.values());
  const drains = new Map<string, DrainSnapshot>();
  const dryRuns = new Map<string, DryRunSnapshot>();
  for (const nodeOS of nodeOSes) {
    const slot = slotOf(nodeOS);
    const report = slot === undefined ? undefined : drainer.report(nodeOS.metadata.name, slot);
    if (report !== undefined) drains.set(nodeOS.metadata.name, report);
    const dryRun = slot === undefined ? rehearsals.report(nodeOS.metadata.name, nodeOS.metadata.uid) : undefined;
    if (dryRun !== undefined) dryRuns.set(nodeOS.metadata.name, dryRun);
  }
  return {
    images: byName(fleet.images.values()).map((object) => {
      const target = images.target(object);
      const unverifiedTarget = images.unverifiedTarget?.(object);
      return {
        object,
        resolution: images.resolution(object),
        ...(target && { target }),
        ...(unverifiedTarget && { unverifiedTarget }),
      };
    }),
    nodes: byName(fleet.nodes.values()).map((node) => seen(node, apiServers.get(node.metadata.name))),
    nodeOSes,
    drains,
    dryRuns,
    ...(fleet.leases && { leases: leasesByNode(fleet.leases.values(), fleet.leaseNamespace ?? '') }),
    checks: checks.report(),
    alerts: alerts.report(),
  };
}

/** By the name that each has; what is not named like the lease of a node is none. */
function leasesByNode(leases: readonly MaintenanceLease[], namespace: string): ReadonlyMap<string, LeaseSnapshot> {
  const prefix = leaseNameOf('');
  const named = leases.filter(({ metadata }) => metadata.name.startsWith(prefix));
  return new Map(named.map((lease) => [lease.metadata.name.slice(prefix.length), leaseSnapshot(lease, namespace)]));
}

function leaseSnapshot({ metadata, spec }: MaintenanceLease, namespace: string): LeaseSnapshot {
  const { holderIdentity: holder = '', leaseDurationSeconds: durationSeconds = 0, renewTime } = spec;
  const renewed = Date.parse(renewTime ?? '');
  // Without a holder it is nobody's, as leader elections leave theirs.
  const good = holder !== '' && durationSeconds > 0 && !Number.isNaN(renewed);
  return {
    resourceVersion: metadata.resourceVersion,
    object: `Lease/${namespace}/${metadata.name}`,
    holder,
    ours: holder === HOLDER,
    durationSeconds,
    ...(good && { end: new Date(renewed + durationSeconds * 1000) }),
  };
}

/** Nodes whose drain may be believed: they hold a slot, and nothing new can have been scheduled to them. */
export function drainable(fleet: Fleet): Set<string> {
  const names = fleet.nodeOSes
    .values()
    .filter((nodeOS) => slotOf(nodeOS) !== undefined)
    .map((nodeOS) => nodeOS.metadata.name);
  return new Set(names.filter((name) => fleet.nodes.get(name)?.spec.unschedulable === true));
}

/** Nodes whose drain may be tried: they hold no slot. */
export function rehearsable(fleet: Fleet): Set<string> {
  const free = fleet.nodeOSes.values().filter((nodeOS) => slotOf(nodeOS) === undefined);
  return new Set(free.map((nodeOS) => nodeOS.metadata.name));
}

/** What tells one slot of a node from the next; undefined while it holds none. */
export function slotOf(nodeOS: NodeOS): string | undefined {
  const slotTime = nodeOS.status?.rollout?.slotTime;
  return slotTime === undefined ? undefined : `${nodeOS.metadata.uid} ${slotTime}`;
}

/** What was made of a Node before: the planner knows by the object that nothing has changed. */
const snapshots = new WeakMap<Node, NodeSnapshot>();

function seen(node: Node, apiServerReady: boolean | undefined): NodeSnapshot {
  const before = snapshots.get(node);
  if (before !== undefined && before.apiServerReady === apiServerReady) return before;
  const snapshot = nodeSnapshot(node, apiServerReady);
  snapshots.set(node, snapshot);
  return snapshot;
}

function nodeSnapshot(node: Node, apiServerReady: boolean | undefined): NodeSnapshot {
  const { metadata, spec, status } = node;
  const cordonedBy = metadata.annotations?.[CORDONED_BY_ANNOTATION];
  const readySince = status.ready?.lastTransitionTime;
  return {
    name: metadata.name,
    uid: metadata.uid,
    labels: metadata.labels ?? {},
    ...(metadata.creationTimestamp === undefined ? {} : { created: new Date(metadata.creationTimestamp) }),
    cordoned: spec.unschedulable === true,
    ...(cordonedBy === undefined ? {} : { cordonedBy }),
    marked: metadata.annotations?.[MARKS_ANNOTATION] !== undefined,
    outdated: spec.taints?.some(({ key }) => key === OUTDATED_TAINT) === true,
    gated: spec.taints?.some(({ key }) => key === NOT_READY_TAINT) === true,
    repels: (spec.taints ?? [])
      .filter(keepsPodsAway)
      .map(({ key, value, effect }) => `${key}=${value ?? ''}:${effect}`),
    volumes: status.volumes ?? [],
    ...(status.conditions && { conditions: status.conditions }),
    ready: status.ready?.status === 'True',
    ...(apiServerReady !== undefined && { apiServerReady }),
    ...(readySince === undefined ? {} : { readySince: new Date(readySince) }),
    ...(status.bootID === undefined ? {} : { bootID: status.bootID }),
    architecture: status.architecture,
    deleting: metadata.deletionTimestamp !== undefined,
  };
}

/** Ours ends with the update. Kubernetes sets taints below node.kubernetes.io/ for conditions that pass ("Taints and Tolerations"). */
function keepsPodsAway({ key, effect }: Taint): boolean {
  return effect !== 'PreferNoSchedule' && key !== NOT_READY_TAINT && !key.startsWith('node.kubernetes.io/');
}

function byName<T extends { readonly metadata: { readonly name: string } }>(objects: T[]): T[] {
  return objects.sort((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1));
}
