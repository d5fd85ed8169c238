/**
 * A virtual machine as a real node: its own kubelet and containerd, as units of its own systemd, on cgroups version 2. It
 * joins a lab of real nodes (testbed/nodes/), whose addresses it reaches through QEMU's user-mode network.
 */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { NodeLab } from '../nodes/node-lab.ts';
import { RELEASE_REGISTRY } from '../nodes/node-lab.ts';
import { installGuest, type InstalledGuest } from './guest-disk.ts';
import { VirtualMachine } from './virtual-machine.ts';

/** Its host name, by which its kubelet registers it. */
export const KUBERNETES_GUEST = 'guest';

/** What has no toleration goes to other nodes: a processor that is emulated is for what the tests are about. */
const TAINT = { key: 'treeline-testbed/emulated', value: 'true', effect: 'NoSchedule' };
/** A kubelet, a container runtime and an agent. */
const MEMORY_MEBIBYTES = 2048;
/** An emulated machine may need this long for one step, on a busy host. */
const STEP_TIMEOUT_MS = 900_000;
const POLL_MS = 500;

export class KubernetesGuest implements AsyncDisposable {
  readonly machine: VirtualMachine;
  /** What `treeline install` said. */
  readonly installed: InstalledGuest;
  readonly #lab: NodeLab;

  private constructor(machine: VirtualMachine, installed: InstalledGuest, lab: NodeLab) {
    this.machine = machine;
    this.installed = installed;
    this.#lab = lab;
  }

  /** Installs version 1, which the lab's registry has, on a disk, boots it, and returns when its node is Ready. */
  static async start(lab: NodeLab, logs: string): Promise<KubernetesGuest> {
    const folder = join(lab.folder, KUBERNETES_GUEST);
    await mkdir(folder);
    const disk = join(folder, 'disk.img');
    const installed = await installGuest(lab.registry, disk);
    const logFile = join(logs, `${KUBERNETES_GUEST}.log`);
    const machine = new VirtualMachine({ disk, logFile, memoryMebibytes: MEMORY_MEBIBYTES });
    const guest = new KubernetesGuest(machine, installed, lab);
    try {
      machine.powerOn();
      await machine.waitForBoot(1);
      for (const [path, text] of Object.entries(configuration(lab))) await machine.writeFile(`/etc/${path}`, text);
      await machine.run('systemctl restart containerd.service && systemctl start --no-block kubelet.service');
      await guest.ready();
      return guest;
    } catch (error) {
      await guest[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Waits until the kubelet says that the node is Ready, in the boot that the machine is in. */
  async ready(): Promise<void> {
    await this.eventually('the guest is Ready', async () => {
      const { body } = await this.#lab.controlPlane.call({ path: `/api/v1/nodes/${KUBERNETES_GUEST}` });
      const { conditions = [], nodeInfo } = (body['status'] ?? {}) as NodeStatus;
      const isReady = conditions.some(({ type, status }) => type === 'Ready' && status === 'True');
      return isReady && nodeInfo?.bootID === this.machine.boots.at(-1);
    });
  }

  /** Looks again and again until `look` finds something; throws with what the machine says when it never does. */
  async eventually<T>(what: string, look: () => Promise<T | undefined | false>): Promise<T> {
    const deadline = Date.now() + STEP_TIMEOUT_MS;
    for (;;) {
      const found = await look();
      if (found !== undefined && found !== false) return found;
      if (Date.now() > deadline) {
        const nodeOS = JSON.stringify(await this.#lab.nodeOS(KUBERNETES_GUEST), undefined, 1);
        throw new Error(`${what}: that did not come.\n${nodeOS}\n${await this.journal()}\n${await this.machine.log()}`);
      }
      await sleep(POLL_MS);
    }
  }

  /** The end of what its units have said in this boot, those of its pods as well. */
  async journal(): Promise<string> {
    const script = 'journalctl --boot --no-pager --lines=400; tail -n 100 /var/log/pods/*/*/*.log';
    return this.machine.run(script, 120_000).catch((error: unknown) => `the guest does not say: ${String(error)}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.machine[Symbol.asyncDispose]();
  }
}

interface NodeStatus {
  readonly conditions?: readonly { readonly type: string; readonly status: string }[];
  readonly nodeInfo?: { readonly bootID: string };
}

/** What makes the machine a node of the lab's cluster: paths below `/etc`, and contents. */
function configuration({ controlPlane, registry }: NodeLab): Readonly<Record<string, string>> {
  const hosts = `[host."http://${registry.host}"]\n  capabilities = ["pull", "resolve"]\n`;
  return {
    // There is no name service in the lab.
    'resolv.conf': '',
    'kubernetes/kubelet.kubeconfig': controlPlane.kubeconfig(controlPlane.nodeToken(KUBERNETES_GUEST)),
    // JSON is YAML, and needs no quoting rules.
    'kubernetes/kubelet.yaml': JSON.stringify(KUBELET, undefined, 2),
    'containerd/config.toml': containerd(`${registry.host}/pause:1`),
    [`containerd/certs.d/${registry.host}/hosts.toml`]: hosts,
    [`containerd/certs.d/${RELEASE_REGISTRY}/hosts.toml`]: hosts,
    // A runtime without a pod network makes no Ready node; all pods here have the host's.
    'cni/net.d/10-none.conflist': JSON.stringify({
      cniVersion: '1.0.0',
      name: 'none',
      plugins: [{ type: 'loopback' }],
    }),
    'containers/registries.conf': `[[registry]]\nlocation = "${registry.host}"\ninsecure = true\n`,
  };
}

const KUBELET = {
  apiVersion: 'kubelet.config.k8s.io/v1beta1',
  kind: 'KubeletConfiguration',
  containerRuntimeEndpoint: 'unix:///run/containerd/containerd.sock',
  // Nothing reaches the guest from outside.
  authentication: { anonymous: { enabled: false }, webhook: { enabled: false } },
  authorization: { mode: 'AlwaysAllow' },
  cgroupDriver: 'systemd',
  // It must be version 2.
  failCgroupV1: true,
  makeIPTablesUtilChains: false,
  registerWithTaints: [TAINT],
  nodeStatusUpdateFrequency: '4s',
};

function containerd(pauseImage: string): string {
  return `version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "${pauseImage}"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "/etc/cni/net.d"
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "/etc/containerd/certs.d"
`;
}
