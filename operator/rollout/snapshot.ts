/**
 * What the planner sees: one consistent picture of the API, with everything it may decide on and nothing else.
 * The shell in `operator/` builds it from its caches; tests build it by hand.
 */
import type {
  AlertPolicy,
  HealthCheck,
  LabelSelector,
  NodeOS,
  OrderedPolicy,
  OSImage,
  Release,
} from '../../api/index.ts';

/** A condition of a Node other than `Ready`. */
export interface ConditionSnapshot {
  readonly status: string;
  /** Its lastTransitionTime or, on a Node that is cordoned or wears marks of ours, its lastHeartbeatTime if that is later. */
  readonly time?: string;
  /** Kept of lifecycle conditions only. */
  readonly reason?: string;
}

/** A Node, cut down to what a rollout depends on. */
export interface NodeSnapshot {
  readonly name: string;
  readonly uid: string;
  readonly labels: Readonly<Record<string, string>>;
  /** `metadata.creationTimestamp`. */
  readonly created?: Date;
  /** `spec.unschedulable`. */
  readonly cordoned: boolean;
  /** Value of the annotation that marks a cordon as ours; absent on a foreign cordon. */
  readonly cordonedBy?: string;
  /** The Node wears marks of a slot, recorded as ours. */
  readonly marked: boolean;
  /** The Node wears our taint for nodes that lack the target. */
  readonly outdated: boolean;
  /** Carries the taint of nodes that have joined and are not on their target, whoever put it on. */
  readonly gated: boolean;
  /** Its taints that keep pods away (NoSchedule, NoExecute), without those that Kubernetes itself sets for a condition. */
  readonly repels: readonly string[];
  /** Volumes that are attached or in use; known only while the node is cordoned. */
  readonly volumes: readonly string[];
  /** Condition `Ready` is `True`. */
  readonly ready: boolean;
  /** The API server that runs on it as a pod is Ready; absent where none is known to. */
  readonly apiServerReady?: boolean;
  /** `lastTransitionTime` of that condition. */
  readonly readySince?: Date;
  /** `status.nodeInfo.bootID`: the boot that the kubelet reports on; absent where there is no kubelet that says so. */
  readonly bootID?: string;
  /** Its other conditions, by type. */
  readonly conditions?: Readonly<Record<string, ConditionSnapshot>>;
  /** `status.nodeInfo.architecture`, in OCI's terms (amd64, arm64, …). */
  readonly architecture: string;
  /** `metadata.deletionTimestamp` is set. */
  readonly deleting: boolean;
}

/** What the registry said about `spec.image.reference` of one OSImage. */
export type Resolution =
  | { readonly state: 'Pending' }
  | {
      readonly state: 'Failed';
      readonly reason: string;
      readonly message: string;
      /** It has a meaning, but is not signed as it must be. */
      readonly unverified?: true;
    }
  | { readonly state: 'Resolved'; readonly image: ResolvedImage };

export interface ResolvedImage {
  readonly release: Release;
  /** Reference without tag or digest, in the form that orders carry: `ostree-unverified-registry:host/name`. */
  readonly repository: string;
  /** Manifest digest per architecture: what a node of that architecture pulls and later reports as booted. */
  readonly platforms: Readonly<Record<string, string>>;
  /** Who must have signed it, for agents to verify again; absent where nobody must. */
  readonly verification?: readonly OrderedPolicy[];
}

export interface ImageSnapshot {
  readonly object: OSImage;
  /** What `spec.image.reference` means now. Its `release.reference` is that reference, letter for letter. */
  readonly resolution: Resolution;
  /**
   * What `status.target` means, looked up by its digest, for as long as the tag means something else or cannot be
   * resolved. Without it a `Manual` rollout whose tag moved on gives no new orders: only the registry knows which
   * manifest each architecture takes from an index.
   */
  readonly target?: ResolvedImage;
  /** Why `status.target` is not given to nodes any more: it is not signed as it must be. */
  readonly unverifiedTarget?: { readonly reason: string; readonly message: string };
}

/** A pod that an eviction was refused for, with the API server's own words. */
export interface Refusal {
  readonly namespace: string;
  readonly pod: string;
  /** Name of the PodDisruptionBudget, where the API server names one. */
  readonly budget?: string;
  readonly message: string;
  readonly since: Date;
  /** It was a deletion that was refused, not an eviction. */
  readonly deletion?: true;
}

/** How a node is to be emptied. */
export interface DrainOrder {
  /**
   * `Evict`: ask the Eviction API. `Delete`: delete what is left. `Watch`: somebody else empties it. `Await`: only the
   * pods of `awaitPods` have to end.
   */
  readonly mode: 'Evict' | 'Delete' | 'Watch' | 'Await';
  /** Pods that stay. */
  readonly skipPods?: LabelSelector;
  /** Pods that end by themselves; nothing is evicted before. */
  readonly awaitPods?: LabelSelector;
  readonly keepEmptyDirs?: true;
  readonly keepBarePods?: true;
  /** Also say which volumes belong to pods that stay. */
  readonly nameVolumes?: true;
  readonly gracePeriodSeconds?: number;
}

/** A pod that does not leave and was not asked to, or was and does not end. */
export interface Holdout {
  readonly namespace: string;
  readonly pod: string;
  readonly why: 'Awaited' | 'EmptyDir' | 'Bare' | 'Stuck';
  /** Of a pod that is `Stuck`: when it was to be gone. */
  readonly since?: Date;
  readonly finalizers?: readonly string[];
}

/** What the drainer last saw on a node that holds a slot; to be forgotten whenever the node is seen uncordoned. */
export interface DrainSnapshot {
  /** By which order it looked; absent: by that of a `spec.drain` without fields. Another order asks for another look. */
  readonly how?: DrainOrder;
  readonly podsLeft: number;
  readonly refusals: readonly Refusal[];
  readonly holdouts?: readonly Holdout[];
  /** Names of the volumes that pods use which stay, as `status.volumesAttached` of the Node has them. */
  readonly keptVolumes?: readonly string[];
}

/** What the API server said to evictions that it was only to judge, on a node that may get a slot soon. */
export interface DryRunSnapshot {
  /** As which order it was asked; absent: as whatever order is current. */
  readonly how?: DrainOrder;
  /** Empty, with no `holdouts`: the node can be emptied now. */
  readonly refusals: readonly Refusal[];
  readonly holdouts?: readonly Holdout[];
}

/** What a host that somebody else updates has just asked for. */
export interface RebootWish {
  readonly kind: 'Lock' | 'Unlock';
  /** Who holds the lock, or is to. */
  readonly id: string;
  /** Name of the OSImage in whose budget it counts, or `default`: of whichever selects the node. */
  readonly group: string;
}

/** The Lease by which those who maintain a node agree who may disturb it. */
export interface LeaseSnapshot {
  readonly resourceVersion: string;
  /** As Kind/namespace/name. */
  readonly object: string;
  readonly holder: string;
  /** Held by Treeline. */
  readonly ours: boolean;
  readonly durationSeconds: number;
  /** When it runs out if nobody renews it; absent: it has never been good. */
  readonly end?: Date;
}

/** What a check of `spec.health.checks` came to. */
export interface CheckSnapshot {
  /** The check that was asked; one that was changed since has not been. */
  readonly check: HealthCheck;
  /** When the reading of its objects began. */
  readonly readTime: Date;
  /** `Readable`: its objects could be read, and no node was named to ask about. `Unreadable`: they could not. */
  readonly verdict: 'True' | 'False' | 'Readable' | 'Forbidden' | 'Unreadable';
  /** What stands in the way, and what to do, in sentences; may be empty. */
  readonly message: string;
}

/** What a Prometheus said about the alerts of one OSImage. */
export interface AlertsSnapshot {
  /** As which policy it was asked. */
  readonly policy: AlertPolicy;
  /** Names of the alerts that fire and count, sorted. */
  readonly firing: readonly string[];
  /** Why that cannot be told, in sentences. */
  readonly unreachable?: string;
}

/** Whether the admission policies that Treeline ships are in force. */
export interface AdmissionSnapshot {
  /** Those that are known not to be, each with what is wrong as a clause, and the manifest that puts it right. */
  readonly deviating: readonly { readonly policy: string; readonly problem: string; readonly manifest: string }[];
  /** Why it cannot be told of some. */
  readonly unreadable?: string;
}

/**
 * Must show every write that the operator itself has made (to NodeOSes, Nodes and Leases): a slot or a cordon that the
 * caches have not seen yet would be given a second time to somebody else.
 */
export interface Snapshot {
  readonly images: readonly ImageSnapshot[];
  readonly nodes: readonly NodeSnapshot[];
  readonly nodeOSes: readonly NodeOS[];
  /** By node name; absent for a node whose pods have not been looked at since it got its slot. */
  readonly drains: ReadonlyMap<string, DrainSnapshot>;
  /** By node name; absent for a node that was not tried, or whose answer is too old to be believed. */
  readonly dryRuns: ReadonlyMap<string, DryRunSnapshot>;
  /** By node name; absent where the operator was not told to take part in maintenance leases. */
  readonly leases?: ReadonlyMap<string, LeaseSnapshot>;
  /** Hosts that ask to reboot, or are back, by node name; absent: nobody can ask. */
  readonly rebootWishes?: ReadonlyMap<string, RebootWish>;
  /** The operator was told to take part in the lifecycle conditions of Nodes. */
  readonly lifecycle?: true;
  /** By `checkKey`; absent for what was not asked, or whose answer is too old to be believed. */
  readonly checks: ReadonlyMap<string, CheckSnapshot>;
  /** By name of the OSImage; absent for one that was not asked for, or whose answer is too old to be believed. */
  readonly alerts: ReadonlyMap<string, AlertsSnapshot>;
  /** Absent where nobody looks. */
  readonly admission?: AdmissionSnapshot;
}
