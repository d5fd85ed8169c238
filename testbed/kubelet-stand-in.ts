/**
 * A stand-in for the kubelets of all nodes, and nothing more: it registers Nodes, reports them Ready with the
 * boot ID of their sandbox (or NotReady while they "reboot"), calls pods that the scheduler has bound Running
 * and Ready, and completes the deletion of terminating ones. No container ever runs.
 */
import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ApiAnswer, ApiCall } from './control-plane-client.ts';
import { bootIDPath } from './sysroot.ts';

/** Fast enough that drains are not held up by us; a kubelet reacts within a second as well. */
const SYNC_INTERVAL_MS = 250;
/** Well inside the 40 s after which the node lifecycle controller calls a silent node Unknown. */
const HEARTBEAT_INTERVAL_MS = 8_000;
/** A container needs a moment to start and to stop; an eviction that is over at once would hide mistakes. */
const POD_START_MS = 400;
const POD_STOP_MS = 400;

export interface NodeDescription {
  readonly name: string;
  readonly labels?: Readonly<Record<string, string>>;
  /** The sandbox's run directory, which holds the boot ID. */
  readonly runDirectory: string;
}

interface NodeRecord extends NodeDescription {
  readonly address: string;
  up: boolean;
  /** Read when the machine comes up, as a kubelet does. */
  bootID: string;
  /** What was last reported; undefined after a failed report. */
  reported: string | undefined;
  reportedAt: number;
}

interface Pod {
  readonly metadata: {
    readonly name: string;
    readonly namespace: string;
    readonly uid: string;
    readonly deletionTimestamp?: string;
  };
  readonly spec: {
    readonly nodeName?: string;
    readonly containers: readonly { readonly name: string; readonly image: string }[];
  };
  readonly status?: { readonly conditions?: readonly { readonly type: string; readonly status: string }[] };
}

export interface KubeletApi {
  call(call: ApiCall): Promise<ApiAnswer>;
}

export class KubeletStandIn implements AsyncDisposable {
  readonly #api: KubeletApi;
  readonly #nodes = new Map<string, NodeRecord>();
  /** When a pod was first seen in its present situation, by UID and situation. */
  readonly #since = new Map<string, number>();
  readonly #stop = new AbortController();
  readonly #loop: Promise<void>;
  #pods = 0;

  /** Starts at once; dispose of it before the API server that `api` speaks to. */
  constructor(api: KubeletApi) {
    this.#api = api;
    this.#loop = this.#run();
  }

  /** Registers a node and resolves when it is reported Ready. A node that is registered already is taken over. */
  async register(description: NodeDescription): Promise<void> {
    const { name, labels } = description;
    const answer = await this.#api.call({
      method: 'POST',
      path: '/api/v1/nodes',
      body: {
        apiVersion: 'v1',
        kind: 'Node',
        metadata: {
          name,
          labels: {
            'kubernetes.io/hostname': name,
            'kubernetes.io/os': 'linux',
            'kubernetes.io/arch': goArchitecture(),
            ...labels,
          },
        },
      },
    });
    if (answer.code !== 201 && answer.code !== 409) throw new Error(`Node ${name} was refused: ${answer.message}`);
    const address = `10.0.0.${this.#nodes.size + 1}`;
    const bootID = await readBootID(description);
    const node: NodeRecord = { ...description, address, up: true, bootID, reported: undefined, reportedAt: 0 };
    this.#nodes.set(name, node);
    await this.#reportNode(node);
  }

  /** The machine went down: NotReady until `machineUp`. */
  async machineDown(name: string): Promise<void> {
    await this.#setUp(name, false);
  }

  /** The machine is back: Ready, with whatever boot ID its sandbox now has. */
  async machineUp(name: string): Promise<void> {
    await this.#setUp(name, true);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#loop;
  }

  async #setUp(name: string, up: boolean): Promise<void> {
    const node = this.#nodes.get(name);
    if (node === undefined) throw new Error(`No node ${name} is registered`);
    if (up) node.bootID = await readBootID(node);
    node.up = up;
    await this.#reportNode(node).catch(() => {
      node.reported = undefined; // The API server is away; the loop reports it when it is back.
    });
  }

  async #run(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      try {
        for (const node of this.#nodes.values()) await this.#heartbeat(node);
        await this.#syncPods();
      } catch {
        // The API server is being restarted by a test; kubelets keep trying too.
      }
      await sleep(SYNC_INTERVAL_MS, undefined, { signal: this.#stop.signal }).catch(() => undefined);
    }
  }

  async #heartbeat(node: NodeRecord): Promise<void> {
    if (node.reported === String(node.up) && Date.now() - node.reportedAt < HEARTBEAT_INTERVAL_MS) return;
    await this.#reportNode(node);
  }

  async #reportNode(node: NodeRecord): Promise<void> {
    const { name, up, bootID } = node;
    const now = new Date().toISOString();
    const changed = node.reported === String(up) ? {} : { lastTransitionTime: now };
    const ready = up
      ? { status: 'True', reason: 'KubeletReady', message: 'The stand-in for the kubelet is up.' }
      : { status: 'False', reason: 'KubeletNotReady', message: 'The machine is rebooting.' };
    const resources = { cpu: '4', memory: '8Gi', pods: '110', 'ephemeral-storage': '50Gi' };
    await this.#must({
      method: 'PATCH',
      path: `/api/v1/nodes/${name}/status`,
      contentType: 'application/strategic-merge-patch+json',
      body: {
        status: {
          capacity: resources,
          allocatable: resources,
          addresses: [
            { type: 'InternalIP', address: node.address },
            { type: 'Hostname', address: name },
          ],
          conditions: [{ type: 'Ready', lastHeartbeatTime: now, ...changed, ...ready }],
          nodeInfo: {
            machineID: name,
            systemUUID: name,
            bootID,
            kernelVersion: 'stand-in',
            osImage: 'stand-in',
            containerRuntimeVersion: 'stand-in://0',
            kubeletVersion: 'v0.0.0-stand-in',
            kubeProxyVersion: '',
            operatingSystem: 'linux',
            architecture: goArchitecture(),
          },
        },
      },
    });
    node.reported = String(up);
    node.reportedAt = Date.now();
  }

  async #syncPods(): Promise<void> {
    const answer = await this.#must({ path: '/api/v1/pods?resourceVersion=0' });
    const pods = (answer.body['items'] ?? []) as readonly Pod[];
    for (const pod of pods) {
      const node = this.#nodes.get(pod.spec.nodeName ?? '');
      if (node?.up === true) await this.#syncPod(pod, node);
    }
    for (const key of this.#since.keys()) {
      if (!pods.some((pod) => key.startsWith(pod.metadata.uid))) this.#since.delete(key);
    }
  }

  async #syncPod(pod: Pod, node: NodeRecord): Promise<void> {
    const { name, namespace, uid, deletionTimestamp } = pod.metadata;
    const path = `/api/v1/namespaces/${namespace}/pods/${name}`;
    if (deletionTimestamp !== undefined) {
      if (!this.#isOver(`${uid} stopping`, POD_STOP_MS)) return;
      const body = { gracePeriodSeconds: 0, preconditions: { uid } };
      await this.#api.call({ method: 'DELETE', path, body });
      return;
    }
    const ready = pod.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') === true;
    if (ready || !this.#isOver(`${uid} starting`, POD_START_MS)) return;
    const now = new Date().toISOString();
    const condition = (type: string) => ({ type, status: 'True', lastTransitionTime: now });
    await this.#api.call({
      method: 'PATCH',
      path: `${path}/status`,
      contentType: 'application/strategic-merge-patch+json',
      body: {
        metadata: { uid },
        status: {
          phase: 'Running',
          startTime: now,
          hostIP: node.address,
          podIP: `10.244.${Math.floor(this.#pods / 250)}.${(this.#pods++ % 250) + 1}`,
          conditions: ['Initialized', 'ContainersReady', 'Ready'].map(condition),
          containerStatuses: pod.spec.containers.map((container) => ({
            name: container.name,
            image: container.image,
            imageID: '',
            ready: true,
            restartCount: 0,
            started: true,
            state: { running: { startedAt: now } },
          })),
        },
      },
    });
  }

  #isOver(key: string, durationMs: number): boolean {
    const since = this.#since.get(key) ?? Date.now();
    this.#since.set(key, since);
    return Date.now() - since >= durationMs;
  }

  async #must(call: ApiCall): Promise<ApiAnswer> {
    const answer = await this.#api.call(call);
    if (answer.code >= 300) throw new Error(`${call.method ?? 'GET'} ${call.path}: ${answer.message}`);
    return answer;
  }
}

async function readBootID({ runDirectory }: NodeDescription): Promise<string> {
  return (await readFile(bootIDPath(runDirectory), 'utf8')).trim();
}

/** The processor architecture in Go's and OCI's words, as a kubelet reports it. */
function goArchitecture(): string {
  return process.arch === 'x64' ? 'amd64' : process.arch;
}
