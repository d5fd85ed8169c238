/**
 * The API servers of the cluster, as far as they are pods: static pods that kubeadm, and who follows it, run on control-plane
 * nodes. Where they are not, nothing is known of them but what the Node says.
 */
import type { ObjectMeta } from '../../api/index.ts';

export const API_SERVER_PODS_PATH = '/api/v1/namespaces/kube-system/pods';

/** As kubeadm labels them. */
export const API_SERVER_PODS_SELECTOR = 'component=kube-apiserver';

export interface ApiServerPod {
  readonly metadata: ObjectMeta;
  readonly nodeName?: string;
  /** Its condition `Ready`, which is its own /readyz. */
  readonly ready: boolean;
}

interface RawPod {
  readonly metadata: ObjectMeta;
  readonly spec?: { readonly nodeName?: string };
  readonly status?: { readonly conditions?: readonly { readonly type: string; readonly status: string }[] };
}

/** Cuts a Pod down to where it runs and whether it is Ready. */
export function trimApiServerPod(raw: unknown): ApiServerPod {
  const { metadata, spec, status } = raw as RawPod;
  const { name, uid, resourceVersion } = metadata;
  return {
    metadata: { name, uid, resourceVersion },
    ...(spec?.nodeName !== undefined && { nodeName: spec.nodeName }),
    ready: status?.conditions?.some((one) => one.type === 'Ready' && one.status === 'True') === true,
  };
}

/** Whether all API servers on a node are Ready, by name of the node; nodes without one are not in it. */
export function apiServersByNode(pods: readonly ApiServerPod[]): ReadonlyMap<string, boolean> {
  const nodes = new Map<string, boolean>();
  for (const { nodeName, ready } of pods) {
    if (nodeName !== undefined) nodes.set(nodeName, ready && nodes.get(nodeName) !== false);
  }
  return nodes;
}
