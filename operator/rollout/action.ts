/**
 * What the planner wants done. Each action is safe to repeat, is carried out on its own, and may be lost to a crash at
 * any point: the next plan, made from what the API then says, asks for what is still missing.
 */
import type { AlertPolicy, Condition, HealthCheck, NodeOSSpec, OSImageStatus, RolloutStatus } from '../../api/index.ts';
import type { LifecycleCondition } from './lifecycle-conditions.ts';
import type { DrainOrder } from './snapshot.ts';

export interface NodeOSStatusPart {
  readonly rollout: RolloutStatus;
  readonly conditions: readonly Condition[];
}

/** What is put on a Node, or taken off it, besides the cordon. What is absent stays as it is. */
export interface NodeMarks {
  /**
   * What a Node wears while it holds a slot. `On` puts on what is not there yet, and records that as ours; `Off` takes off
   * what is recorded as ours, and nothing else.
   */
  readonly slot?: 'On' | 'Off';
  /** With `slot: 'On'`: also take the node out of external load balancers. */
  readonly loadBalancers?: true;
  /** Whether the Node wears our taint for nodes that lack the target. */
  readonly outdated?: boolean;
  /** Whether the Node wears our taint for nodes that have joined and are not on their target. */
  readonly gated?: boolean;
}

/** The node that a check may speak of. */
export interface CheckedNode {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
}

export type Action =
  /** Create the NodeOS of a Node, owned by it. */
  | { readonly kind: 'CreateNodeOS'; readonly node: string; readonly nodeUID: string; readonly imageName: string }
  /** Delete a NodeOS whose Node is gone, was re-created, or is ruled by no OSImage (never while it holds a slot of ours unsettled). */
  | { readonly kind: 'DeleteNodeOS'; readonly name: string; readonly uid: string }
  /** Replace `spec`; the write must fail if `resourceVersion` is no longer current. */
  | { readonly kind: 'WriteOrder'; readonly name: string; readonly resourceVersion: string; readonly spec: NodeOSSpec }
  /** Replace `status.rollout` and `status.conditions`; the write must fail if `resourceVersion` is no longer current. */
  | {
      readonly kind: 'WriteRollout';
      readonly name: string;
      readonly resourceVersion: string;
      readonly status: NodeOSStatusPart;
    }
  /** Make the Node unschedulable and ours, and mark it, in one write; must not touch a Node that somebody else has cordoned meanwhile. */
  | { readonly kind: 'Cordon'; readonly node: string; readonly by: string; readonly marks: NodeMarks }
  /** Make the Node schedulable, take our mark off, and change `marks`, in one write; must not act unless the mark is still `by`. */
  | { readonly kind: 'Uncordon'; readonly node: string; readonly by: string; readonly marks: NodeMarks }
  /** Change the marks of a Node whose cordon stays as it is. */
  | { readonly kind: 'Mark'; readonly node: string; readonly marks: NodeMarks }
  /** Take the maintenance lease of the Node, or renew ours. Must fail if `resourceVersion` is no longer current; absent: if there is a Lease. */
  | { readonly kind: 'TakeLease'; readonly node: string; readonly nodeUID: string; readonly resourceVersion?: string }
  /** Delete our maintenance lease of the Node; must fail if `resourceVersion` is no longer current. */
  | { readonly kind: 'GiveUpLease'; readonly node: string; readonly resourceVersion: string }
  /** Set lifecycle conditions of the Node to True as ours, and remove others that are ours, in one write. */
  | {
      readonly kind: 'TellLifecycle';
      readonly node: string;
      readonly set: readonly LifecycleCondition[];
      readonly remove: readonly LifecycleCondition[];
    }
  /** Get pods off the node now, as `how` says, and report what is left in `Snapshot.drains`. */
  | { readonly kind: 'Drain'; readonly node: string; readonly how: DrainOrder }
  /** Ask how a drain as `how` says would go, without a pod leaving, and report it in `Snapshot.dryRuns`. */
  | { readonly kind: 'DryRun'; readonly node: string; readonly how: DrainOrder }
  /** Find out whether `check` of the OSImage `image` is true, `about` a node where one is named, and report it in `Snapshot.checks`. */
  | {
      readonly kind: 'Check';
      readonly image: string;
      readonly check: HealthCheck;
      readonly about?: CheckedNode;
      /** An older answer does not do. */
      readonly since?: string;
    }
  /** Find out which alerts of `policy` fire, and report it in `Snapshot.alerts` for the OSImage `image`. */
  | { readonly kind: 'Alerts'; readonly image: string; readonly policy: AlertPolicy }
  | {
      readonly kind: 'WriteImageStatus';
      readonly name: string;
      readonly resourceVersion: string;
      readonly status: OSImageStatus;
    }
  | {
      readonly kind: 'Emit';
      readonly regarding: { readonly kind: 'OSImage' | 'Node'; readonly name: string };
      readonly type: 'Normal' | 'Warning';
      readonly reason: string;
      readonly message: string;
    };

export interface Plan {
  /** Why hosts that ask to reboot may not, by node name; absent while none asks. */
  readonly lockRefusals?: ReadonlyMap<string, string>;
  /** In the order in which they are to be tried. */
  readonly actions: readonly Action[];
  /** When to plan again even if nothing changes; absent when only a change can matter. */
  readonly nextTime?: Date;
}
