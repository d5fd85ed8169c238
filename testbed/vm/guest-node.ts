/**
 * A virtual machine as a node of the test control plane: its agent is the unit that Treeline ships, with the credentials
 * that the manifests give to agents. What a kubelet would say of it, a stand-in says: nothing else of a node is on it.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { DEFAULT_NAMESPACE } from '../../api/index.ts';
import { AGENT_ACCOUNT } from '../control-plane-treeline.ts';
import type { ControlPlane } from '../control-plane.ts';
import { KubeletStandIn } from '../kubelet-stand-in.ts';
import { bootIDPath } from '../sysroot.ts';
import { HOST_FROM_GUEST, type VirtualMachine } from './virtual-machine.ts';

/** The API server's own certificate has this name, and not the address at which guests see it. */
const API_SERVER_NAME = 'kubernetes.default.svc';
const TOKEN_SECONDS = 14_400;
const POLL_MS = 500;

export interface GuestNodeOptions {
  readonly name: string;
  readonly machine: VirtualMachine;
  readonly controlPlane: ControlPlane;
  /** Host and port of the registry, as the machine that runs the guest knows it. */
  readonly registryHost: string;
  /** For what stands for the node's `/run`. */
  readonly folder: string;
}

/** Reports the node Ready in each boot that the machine's console tells of, until it is disposed of. */
export class GuestNode implements AsyncDisposable {
  readonly #options: GuestNodeOptions;
  readonly #kubelet: KubeletStandIn;
  readonly #stop = new AbortController();
  #following: Promise<void> | undefined;

  private constructor(options: GuestNodeOptions) {
    this.#options = options;
    this.#kubelet = new KubeletStandIn(options.controlPlane);
  }

  /** Registers the running machine and starts the agent on it. */
  static async join(options: GuestNodeOptions): Promise<GuestNode> {
    const { name, machine, controlPlane, folder, registryHost } = options;
    const node = new GuestNode(options);
    await node.#writeBootID();
    await node.#kubelet.register({ name, runDirectory: folder });
    node.#following = node.#follow(machine.boots.length);
    const token = await controlPlane.tokenFor(AGENT_ACCOUNT, { node: name }, TOKEN_SECONDS);
    await machine.writeFile('/etc/treeline/agent.kubeconfig', kubeconfig(controlPlane, token), '0600');
    // The reference names the registry as the host knows it; the guest gets there by another address.
    const port = registryHost.split(':')[1] ?? '';
    await machine.writeFile(
      '/etc/containers/registries.conf',
      `[[registry]]\nlocation = "${registryHost}"\ninsecure = true\n[[registry.mirror]]\nlocation = "${HOST_FROM_GUEST}:${port}"\ninsecure = true\n`,
    );
    await machine.writeFile(
      '/etc/treeline/agent.env',
      `NODE_NAME=${name}\nKUBECONFIG=/etc/treeline/agent.kubeconfig\nPOD_NAMESPACE=${DEFAULT_NAMESPACE}\n`,
    );
    await machine.run('systemctl start treeline-agent.service');
    return node;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#following;
    await this.#kubelet[Symbol.asyncDispose]();
  }

  async #follow(known: number): Promise<void> {
    const { machine, name } = this.#options;
    let seen = known;
    while (!this.#stop.signal.aborted) {
      if (machine.boots.length > seen) {
        seen = machine.boots.length;
        await this.#writeBootID();
        await this.#kubelet.machineUp(name);
      }
      await sleep(POLL_MS, undefined, { signal: this.#stop.signal }).catch(() => undefined);
    }
  }

  async #writeBootID(): Promise<void> {
    const { folder, machine } = this.#options;
    await mkdir(folder, { recursive: true });
    await writeFile(bootIDPath(folder), machine.boots.at(-1) ?? '');
  }
}

function kubeconfig(controlPlane: ControlPlane, token: string): string {
  const server = `https://${HOST_FROM_GUEST}:${new URL(controlPlane.url).port}`;
  const authority = Buffer.from(controlPlane.certificateAuthority).toString('base64');
  const cluster = { server, 'certificate-authority-data': authority, 'tls-server-name': API_SERVER_NAME };
  return JSON.stringify({
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'test', cluster }],
    users: [{ name: 'agent', user: { token } }],
    contexts: [{ name: 'test', context: { cluster: 'test', user: 'agent' } }],
    'current-context': 'test',
  });
}
