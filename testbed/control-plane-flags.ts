/** How the servers of the test control plane are started: as a cluster does it, less what nobody needs on loopback. */
import { join } from 'node:path';
import type { ControlPlaneBinary } from '../tools/setup/control-plane-binaries.ts';

export interface ControlPlaneOptions {
  /** Deployments, ReplicaSets, PodDisruptionBudgets, garbage collection, namespaces, ServiceAccounts. Default false. */
  readonly controllerManager?: boolean;
  /** Also what marks silent nodes NotReady and evicts from them; needs `controllerManager`. Default false. */
  readonly nodeLifecycle?: boolean;
  /** Default false; pods can be given `spec.nodeName` instead. */
  readonly scheduler?: boolean;
  /**
   * Nodes that run real kubelets. Each has a token, and the API is at the address of the Service `kubernetes`, where pods look
   * for it; the network namespace must have that address.
   */
  readonly nodes?: readonly string[];
  /** Where its folder is made: that of what it is part of. Without it, one of its own that outlives nobody for long. */
  readonly parentFolder?: string;
}

/** Address of the Service `kubernetes`: the first of the range. */
export const API_SERVICE_ADDRESS = '10.96.0.1';

export type Binaries = Readonly<Partial<Record<ControlPlaneBinary, string>>>;

/** What one control plane is made of. Files that the servers read at start are in `folder`. */
export interface Layout {
  readonly folder: string;
  readonly binaries: Binaries;
  readonly etcdPort: number;
  readonly etcdPeerPort: number;
  readonly apiAddress: string;
  readonly apiPort: number;
  readonly tokens: {
    readonly admin: string;
    readonly controllerManager: string;
    readonly scheduler: string;
    /** By the names of the nodes. */
    readonly nodes: ReadonlyMap<string, string>;
  };
}

/** What a cluster has that the tests depend on. Not the node lifecycle: nobody renews the leases of simulated nodes. */
const CONTROLLERS = [
  'clusterrole-aggregation-controller',
  'daemonset-controller',
  'deployment-controller',
  'disruption-controller',
  'endpointslice-controller',
  'garbage-collector-controller',
  'job-controller',
  'namespace-controller',
  'replicaset-controller',
  'root-ca-certificate-publisher-controller',
  'serviceaccount-controller',
  'serviceaccount-token-controller',
  'statefulset-controller',
  'ttl-after-finished-controller',
  'validatingadmissionpolicy-status-controller',
];
const NODE_LIFECYCLE_CONTROLLERS = ['node-lifecycle-controller', 'taint-eviction-controller'];

export function etcdFlags({ folder, etcdPort, etcdPeerPort }: Layout): string[] {
  const client = `http://127.0.0.1:${etcdPort}`;
  const peer = `http://127.0.0.1:${etcdPeerPort}`;
  return [
    `--data-dir=${join(folder, 'etcd')}`,
    `--listen-client-urls=${client}`,
    `--advertise-client-urls=${client}`,
    `--listen-peer-urls=${peer}`,
    `--initial-advertise-peer-urls=${peer}`,
    `--initial-cluster=default=${peer}`,
    '--unsafe-no-fsync',
    '--log-level=warn',
  ];
}

export function apiServerFlags(
  { folder, etcdPort, apiAddress, apiPort }: Layout,
  options: ControlPlaneOptions,
): string[] {
  return [
    `--etcd-servers=http://127.0.0.1:${etcdPort}`,
    `--bind-address=${apiAddress}`,
    `--advertise-address=${apiAddress}`,
    `--secure-port=${apiPort}`,
    `--cert-dir=${join(folder, 'certificates')}`,
    '--service-account-issuer=https://kubernetes.default.svc',
    `--service-account-key-file=${join(folder, 'service-account.pub')}`,
    `--service-account-signing-key-file=${join(folder, 'service-account.key')}`,
    '--service-cluster-ip-range=10.96.0.0/16',
    `--token-auth-file=${join(folder, 'tokens.csv')}`,
    '--authorization-mode=Node,RBAC',
    '--enable-admission-plugins=NodeRestriction',
    // Without a controller manager nobody makes the ServiceAccount `default`, and every Pod would be refused for that.
    ...(options.controllerManager === true ? [] : ['--disable-admission-plugins=ServiceAccount']),
    '--allow-privileged=true',
    // The names of real nodes are in no name service.
    '--kubelet-preferred-address-types=InternalIP',
    // Loopback is not a valid endpoint address, and where pods do reach the API through the Service, it is at its address.
    '--endpoint-reconciler-type=none',
  ];
}

export function controllerManagerFlags({ folder }: Layout, options: ControlPlaneOptions): string[] {
  const controllers = [...CONTROLLERS, ...(options.nodeLifecycle === true ? NODE_LIFECYCLE_CONTROLLERS : [])];
  return [
    `--kubeconfig=${join(folder, 'controller-manager.kubeconfig')}`,
    '--leader-elect=false',
    '--secure-port=0',
    `--controllers=${controllers.join(',')}`,
    // Each controller under its own bootstrap role: the manager's own user may hardly do anything.
    '--use-service-account-credentials=true',
    `--service-account-private-key-file=${join(folder, 'service-account.key')}`,
    `--root-ca-file=${join(folder, 'certificates', 'apiserver.crt')}`,
    // The controller manager's own role allows next to nothing; the roles of the single controllers do the work.
    '--use-service-account-credentials=true',
  ];
}

export function schedulerFlags({ folder }: Layout): string[] {
  return [`--kubeconfig=${join(folder, 'scheduler.kubeconfig')}`, '--leader-elect=false', '--secure-port=0'];
}
