/** What makes a machine with the nodes' operating system a certain node of a certain cluster: files of its `/etc`. */

export interface NodeIdentity {
  readonly name: string;
  /** Of all nodes, from 1: chooses its addresses. */
  readonly number: number;
  /** A directory for its pods in every cgroup hierarchy. */
  readonly cgroup: string;
  /** What its kubelet speaks to the API with. */
  readonly kubeconfig: string;
  /** Host and port of the only registry there is; it speaks plain HTTP. */
  readonly registry: string;
  /** Image of what holds a pod's namespaces open, in that registry. */
  readonly pauseImage: string;
  /** Registry whose images are asked of that one instead. */
  readonly mirrored: string;
}

/** The nodes share a network namespace; each has an address of its own in it. */
export function nodeAddress(number: number): string {
  return `10.77.0.${10 + number}`;
}

/** The bridge of its pods. */
export function nodeBridge(number: number): string {
  return `pods-${number}`;
}

/** Paths below `/etc`, and contents. */
export function nodeConfiguration(identity: NodeIdentity): Readonly<Record<string, string>> {
  const { name, number, kubeconfig, registry, mirrored } = identity;
  const hosts = `[host."http://${registry}"]\n  capabilities = ["pull", "resolve"]\n`;
  return {
    hostname: `${name}\n`,
    // There is no name service in the lab.
    'resolv.conf': '',
    'kubernetes/node-ip': `${nodeAddress(number)}\n`,
    'kubernetes/kubelet.kubeconfig': kubeconfig,
    // JSON is YAML, and needs no quoting rules.
    'kubernetes/kubelet.yaml': JSON.stringify(kubeletConfiguration(identity), undefined, 2),
    'containerd/config.toml': containerdConfiguration(identity),
    [`containerd/certs.d/${registry}/hosts.toml`]: hosts,
    [`containerd/certs.d/${mirrored}/hosts.toml`]: hosts,
    'cni/net.d/10-pods.conflist': JSON.stringify(podNetwork(number)),
    'containers/registries.conf': `[[registry]]\nlocation = "${registry}"\ninsecure = true\n`,
  };
}

function kubeletConfiguration({ number, cgroup }: NodeIdentity): object {
  const address = nodeAddress(number);
  return {
    apiVersion: 'kubelet.config.k8s.io/v1beta1',
    kind: 'KubeletConfiguration',
    address,
    healthzBindAddress: address,
    readOnlyPort: 0,
    containerRuntimeEndpoint: 'unix:///run/containerd/containerd.sock',
    // Who can reach it is in the lab's network namespace.
    authentication: { anonymous: { enabled: true }, webhook: { enabled: false } },
    authorization: { mode: 'AlwaysAllow' },
    cgroupDriver: 'cgroupfs',
    cgroupRoot: `/${cgroup}`,
    enforceNodeAllocatable: [],
    // The test machine decides which version of cgroups there is.
    failCgroupV1: false,
    failSwapOn: false,
    // Without CAP_SYS_RESOURCE, as on some test machines, it cannot be lowered.
    oomScoreAdj: 0,
    makeIPTablesUtilChains: false,
    // The disk is the test machine's, and how full that is, is nobody's fault here.
    evictionHard: { 'memory.available': '50Mi', 'nodefs.available': '0%', 'imagefs.available': '0%' },
    imageGCHighThresholdPercent: 100,
    imageGCLowThresholdPercent: 99,
    nodeStatusUpdateFrequency: '4s',
  };
}

function containerdConfiguration({ number, pauseImage }: NodeIdentity): string {
  return `version = 2
[plugins."io.containerd.grpc.v1.cri"]
  # Without CAP_SYS_RESOURCE, as on some test machines, it cannot be lowered.
  restrict_oom_score_adj = true
  sandbox_image = "${pauseImage}"
  stream_server_address = "${nodeAddress(number)}"
  stream_server_port = "10010"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "/etc/cni/net.d"
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "/etc/containerd/certs.d"
`;
}

/** A bridge with addresses that other nodes reach, for all of them are in one network namespace. */
function podNetwork(number: number): object {
  const ipam = {
    type: 'host-local',
    ranges: [[{ subnet: `10.244.${number}.0/24` }]],
    routes: [{ dst: '0.0.0.0/0' }],
    // A boot begins with no pods, and so with no addresses in use.
    dataDir: '/run/cni',
  };
  const bridge = { type: 'bridge', bridge: nodeBridge(number), isGateway: true, hairpinMode: true, ipam };
  return { cniVersion: '1.0.0', name: 'pods', plugins: [bridge] };
}
