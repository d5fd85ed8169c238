/** The marks of other projects that tell their controllers to leave a Node alone for a while. */

/** Autoscalers do not remove a node that is about to come back (their documentation, "how can I prevent … scaling down a node"). */
export const SLOT_ANNOTATIONS = ['cluster-autoscaler.kubernetes.io/scale-down-disabled', 'karpenter.sh/do-not-disrupt'];

/** Cloud load balancers send no new connections to a node with this label (Kubernetes, "Well-Known Labels"). */
export const LOAD_BALANCER_LABEL = 'node.kubernetes.io/exclude-from-external-load-balancers';
