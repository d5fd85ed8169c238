/** The nodes of the simulated cluster: what the API says of one, and the machine below it, which only its agent sees. */
import type { NodeOS } from '../../../api/index.ts';
import { CONTROL_PLANE_LABEL } from '../../../api/index.ts';
import type { ConditionSnapshot, NodeSnapshot } from '../../../operator/rollout/snapshot.ts';

export interface Machine {
  bootID: string;
  booted: string;
  staged?: { digest: string; locked: boolean };
  /** What the agent last saw of its NodeOS. */
  view?: NodeOS;
  /** When the pull that is under way ends, and for which order. */
  pull?: { readonly id: string; readonly end: number };
  /** When the host that is on its way down is back. */
  back?: number;
  /** It went down for an order of ours. */
  ordered?: boolean;
  /** The digest that it was ordered to boot and did not come back on, for as long as that is the target. */
  rejected?: string;
  pods: number;
}

export interface WorldNode {
  name: string;
  uid: string;
  labels: Record<string, string>;
  cordoned: boolean;
  cordonedBy?: string;
  /** Wears the marks of a slot. */
  marked: boolean;
  /** Wears the taint of nodes that lack the target. */
  outdated: boolean;
  /** Wears the taint of nodes that have joined and are not on the target. */
  gated: boolean;
  ready: boolean;
  /** Its API server is not Ready, where it has one. */
  mute?: true;
  architecture: string;
  deleting: boolean;
  /** The boot of which its kubelet has told the API. */
  bootID: string;
  /** Its conditions but Ready, which the hook sets. */
  conditions: Record<string, ConditionSnapshot>;
  /** Kept NotReady by somebody until then. */
  brokenUntil?: number;
  machine: Machine;
}

/** What the operator sees of a node; the machine below it only shows in what its agent reports. */
export function seenBy(node: WorldNode): NodeSnapshot {
  const { name, uid, labels, cordoned, cordonedBy, marked, outdated, gated, ready, architecture, deleting, bootID } =
    node;
  const hasApiServer = labels[CONTROL_PLANE_LABEL] !== undefined;
  const mark = cordonedBy === undefined ? {} : { cordonedBy };
  return {
    name,
    uid,
    labels: { ...labels },
    cordoned,
    ...mark,
    marked,
    outdated,
    gated,
    repels: [],
    volumes: [],
    ready,
    ...(hasApiServer && { apiServerReady: node.mute === undefined }),
    bootID,
    conditions: { ...node.conditions },
    architecture,
    deleting,
  };
}
