/**
 * The parts of Kubernetes' own objects that the operator reads, and how they are cut down to them. A Node as the API
 * serves it is some 15 KB; what a rollout depends on is less than one.
 */
import {
  CORDONED_BY_ANNOTATION,
  MARKS_ANNOTATION,
  type NodeOS,
  type OSImage,
  type ObjectMeta,
} from '../../api/index.ts';
import type { ConditionSnapshot } from '../rollout/snapshot.ts';
import { LIFECYCLE_CONDITIONS } from '../rollout/lifecycle-conditions.ts';
import { SLOT_ANNOTATIONS } from './slot-marks.ts';

export interface NodeCondition {
  readonly type: string;
  readonly status: string;
  readonly lastTransitionTime?: string;
  readonly lastHeartbeatTime?: string;
  readonly reason?: string;
}

export interface Taint {
  readonly key: string;
  readonly effect: string;
  readonly value?: string;
  readonly [field: string]: unknown;
}

export interface Node {
  readonly metadata: ObjectMeta;
  readonly spec: { readonly unschedulable?: boolean; readonly taints?: readonly Taint[] };
  readonly status: {
    /** The condition `Ready` only. */
    readonly ready?: NodeCondition;
    /** All others by type: for gates. */
    readonly conditions?: Readonly<Record<string, ConditionSnapshot>>;
    readonly architecture: string;
    readonly machineID?: string;
    readonly bootID?: string;
    /** Names of volumes that are attached or in use; kept only while the Node is cordoned. */
    readonly volumes?: readonly string[];
  };
}

export interface PodVolume {
  readonly name: string;
  readonly emptyDir?: unknown;
  readonly ephemeral?: unknown;
  readonly persistentVolumeClaim?: { readonly claimName: string };
}

export interface PersistentVolumeClaim {
  readonly spec?: { readonly volumeName?: string };
}

export interface PersistentVolume {
  readonly spec?: { readonly csi?: { readonly driver: string; readonly volumeHandle: string } };
}

export interface Pod {
  readonly metadata: ObjectMeta & { readonly namespace: string };
  readonly spec?: { readonly nodeName?: string; readonly volumes?: readonly PodVolume[] };
  readonly status?: { readonly phase?: string };
}

export interface Secret {
  readonly metadata: Pick<ObjectMeta, 'uid' | 'resourceVersion'>;
  readonly type?: string;
  readonly data?: Readonly<Record<string, string>>;
}

interface RawNode {
  readonly metadata: ObjectMeta;
  readonly spec?: { readonly unschedulable?: boolean; readonly taints?: readonly Taint[] };
  readonly status?: {
    readonly conditions?: readonly NodeCondition[];
    readonly nodeInfo?: { readonly architecture?: string; readonly bootID?: string; readonly machineID?: string };
    readonly volumesAttached?: readonly { readonly name: string }[];
    readonly volumesInUse?: readonly string[];
  };
}

const LIFECYCLE_TYPES: ReadonlySet<string> = new Set(LIFECYCLE_CONDITIONS);

const KEPT_ANNOTATIONS: ReadonlySet<string> = new Set([CORDONED_BY_ANNOTATION, MARKS_ANNOTATION, ...SLOT_ANNOTATIONS]);

/** Cuts a Node down; heartbeats then change nothing but the resource version. */
export function trimNode(raw: unknown): Node {
  const { metadata, spec, status } = raw as RawNode;
  const annotations = Object.entries(metadata.annotations ?? {}).filter(([key]) => KEPT_ANNOTATIONS.has(key));
  const ready = status?.conditions?.find((condition) => condition.type === 'Ready');
  return {
    metadata: {
      name: metadata.name,
      uid: metadata.uid,
      resourceVersion: metadata.resourceVersion,
      ...(metadata.creationTimestamp === undefined ? {} : { creationTimestamp: metadata.creationTimestamp }),
      ...(metadata.labels === undefined ? {} : { labels: metadata.labels }),
      ...(annotations.length === 0 ? {} : { annotations: Object.fromEntries(annotations) }),
      ...(metadata.deletionTimestamp === undefined ? {} : { deletionTimestamp: metadata.deletionTimestamp }),
    },
    spec: {
      ...(spec?.unschedulable === true && { unschedulable: true }),
      // Whole, because a merge patch replaces the whole list.
      ...(spec?.taints !== undefined && { taints: spec.taints }),
    },
    status: {
      architecture: status?.nodeInfo?.architecture ?? '',
      ...(status?.nodeInfo?.machineID ? { machineID: status.nodeInfo.machineID } : {}),
      ...(status?.nodeInfo?.bootID ? { bootID: status.nodeInfo.bootID } : {}),
      ...volumesOf(spec, status),
      ...conditionsOf(status, spec?.unschedulable === true || annotations.length > 0),
      ...(ready === undefined
        ? {}
        : {
            ready: {
              type: ready.type,
              status: ready.status,
              ...(ready.lastTransitionTime === undefined ? {} : { lastTransitionTime: ready.lastTransitionTime }),
            },
          }),
    },
  };
}

/** On a node at work they change with every pod, which no rollout depends on. */
function volumesOf(spec: RawNode['spec'], status: RawNode['status']): { readonly volumes?: readonly string[] } {
  if (spec?.unschedulable !== true) return {};
  const names = [...(status?.volumesAttached ?? []).map(({ name }) => name), ...(status?.volumesInUse ?? [])];
  return names.length === 0 ? {} : { volumes: [...new Set(names)].sort() };
}

/**
 * A heartbeat is kept only of a Node `inSlot`, cordoned or still wearing our marks: no gate asks for it elsewhere, and it
 * would cause a plan each time.
 */
function conditionsOf(status: RawNode['status'], inSlot: boolean): Pick<Node['status'], 'conditions'> {
  const others = (status?.conditions ?? []).filter(({ type }) => type !== 'Ready');
  if (others.length === 0) return {};
  const facts = others.map(({ type, status: value, lastTransitionTime, lastHeartbeatTime, reason }) => {
    const time = inSlot ? later(lastTransitionTime, lastHeartbeatTime) : lastTransitionTime;
    const said = reason !== undefined && LIFECYCLE_TYPES.has(type) ? { reason } : {};
    return [type, { status: value, ...(time !== undefined && { time }), ...said }] as const;
  });
  return { conditions: Object.fromEntries(facts) };
}

function later(left: string | undefined, right: string | undefined): string | undefined {
  if (left === undefined || right === undefined) return left ?? right;
  return Date.parse(left) < Date.parse(right) ? right : left;
}

/** Our own objects are kept whole, so that they can be written back, but for the record of who wrote which field. */
export function trimNodeOS(raw: unknown): NodeOS {
  return withoutManagedFields(raw) as NodeOS;
}

export function trimOSImage(raw: unknown): OSImage {
  return withoutManagedFields(raw) as OSImage;
}

function withoutManagedFields(raw: unknown): unknown {
  const object = raw as { metadata: Record<string, unknown> };
  const { managedFields: _, ...metadata } = object.metadata;
  return { ...object, metadata };
}
