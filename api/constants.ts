/** Names that Treeline writes into the Kubernetes API. Everything else refers to them from here. */

export const GROUP = 'treeline.dev';
export const VERSION = 'v1alpha1';
export const API_VERSION = `${GROUP}/${VERSION}`;

/** The namespace that `manifests/base` installs into: operator, agents and pull Secrets live here. */
export const DEFAULT_NAMESPACE = 'treeline-system';

/** On a Node: UID of the NodeOS for which we cordoned it. A cordon without this mark is somebody else's and is never lifted. */
export const CORDONED_BY_ANNOTATION = 'treeline.dev/cordoned-by';

/** On a Node: the labels and annotations of a slot that we have put there, by key, with commas. All others are somebody else's. */
export const MARKS_ANNOTATION = 'treeline.dev/marks';

/** On a Node, as a taint with effect PreferNoSchedule: it lacks the target of its OSImage, and pods do better elsewhere. */
export const OUTDATED_TAINT = 'treeline.dev/outdated';

/** On a Node, with effect NoSchedule: it has joined and is not on its target yet (`spec.newNodes` Gate). */
export const NOT_READY_TAINT = 'treeline.dev/not-ready';

/** On a Node: any value keeps Treeline away from it. */
export const EXCLUDE_LABEL = 'treeline.dev/exclude';

/** On a Node, with any value: it runs the control plane (Kubernetes documentation, "Well-Known Labels"). */
export const CONTROL_PLANE_LABEL = 'node-role.kubernetes.io/control-plane';

/** On a NodeOS: name of the OSImage that rules it, for cheap selection with `kubectl get nos -l`. */
export const IMAGE_LABEL = 'treeline.dev/image';

/** Longest docker config that a pull Secret may hold, in bytes: every node's NodeOS carries a sealed copy. */
export const PULL_SECRET_BYTES = 32_768;

/** `status.lastOrder.id` of an agent that says something before it has any order: no order has this id. */
export const NO_ORDER = '';

/** Who writes a field, as the API server records it. */
export const OPERATOR_FIELD_MANAGER = 'treeline-operator';
export const AGENT_FIELD_MANAGER = 'treeline-agent';
