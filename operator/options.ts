/** What whoever starts the operator decides. */
import type { Logger } from 'pino';

export interface OperatorOptions {
  /** Path of a kubeconfig file; absent: the ServiceAccount of the pod that this runs in. */
  readonly kubeconfig?: string;
  /** Where the operator, its Lease and the pull Secrets live. */
  readonly namespace: string;
  /** Name of this replica, unique among all that run at the same time: the pod's name. */
  readonly identity: string;
  /** Registries that are spoken to without TLS, as host or host:port. */
  readonly plainHttpHosts?: readonly string[];
  /** PEM file of a certificate authority for registries, beside the system's. */
  readonly certificateAuthorityFile?: string;
  /** YAML file with the policy that the signatures of every image must satisfy; absent: only OSImages ask for any. */
  readonly signaturePolicyFile?: string;
  /** Where `/healthz`, `/readyz` and `/metrics` are served; absent: nowhere. Port 0 lets the system choose. */
  readonly health?: { readonly address: string; readonly port: number };
  /** Default true. False only where nobody else can run: two that act at once break every promise about budgets. */
  readonly leaderElection?: boolean;
  /** Namespace of the Leases by which those who maintain nodes agree; absent: Treeline takes no part. */
  readonly maintenanceLeases?: string;
  /** Whether Kubernetes' lifecycle conditions are set on Nodes in a slot, and heeded when others set them. Default false. */
  readonly lifecycleConditions?: boolean;
  /** Where hosts that somebody else updates may ask to reboot (FleetLock); absent: nowhere. Port 0 lets the system choose. */
  readonly fleetLock?: { readonly address: string; readonly port: number };
  /** False: nobody looks whether the admission policies of `manifests/` are in force. Default true. */
  readonly admissionPolicies?: boolean;
  /** Makes images, as OSImageBuilds say; absent: nobody does. */
  readonly builds?: BuildOptions;
  readonly logger: Logger;
  /** Called when the first list of every watched kind is there, with the address of the health endpoints, if any. */
  readonly onReady?: (started: { readonly healthAddress?: string; readonly fleetLockAddress?: string }) => void;
}

export interface BuildOptions {
  /** Where the Jobs run, and the Secrets and ConfigMaps of builds are. Not the operator's own: who makes Jobs there may use its Secrets. */
  readonly namespace: string;
  /** Image with `treeline` and buildah, by digest or by a tag that does not move. */
  readonly builderImage: string;
}

/** Name of the Lease, in the operator's namespace. */
export const LEASE_NAME = 'treeline-operator';
