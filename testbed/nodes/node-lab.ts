/**
 * A cluster of real nodes: control plane, registry and nodes, in the network namespace of this process, with Treeline installed
 * as its users install it. Everything dies with us.
 */
import { existsSync } from 'node:fs';
import { cp, mkdir, readdir, writeFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { stringify } from 'yaml';
import { DEFAULT_NAMESPACE, type NodeOS, type OSImage } from '../../api/index.ts';
import type { Say } from '../../tools/setup/say.ts';
import { startControlPlane, type ControlPlane } from '../control-plane.ts';
import { startRegistry, type TestRegistry } from '../registry.ts';
import { buildContainerImage, containerImage, pushContainerImages } from './container-image.ts';
import { LabFolder } from './lab-folder.ts';
import { makeLabNetwork, REGISTRY_ADDRESS } from './lab-network.ts';
import { nodeConfiguration } from './node-configuration.ts';
import { makeNodeDisks, writeConfiguration } from './node-disk.ts';
import { ensureNodeImage, NODE_OS, publishNodeOS } from './node-image.ts';
import { RealNode } from './real-node.ts';

const MANIFESTS = join(import.meta.dirname, '..', '..', 'manifests', 'base');
/** Who serves Treeline's own image; containerd on the nodes asks the lab's registry instead. */
export const RELEASE_REGISTRY = 'registry.treeline.dev';
/** For one step of a node; many times what it takes on an idle machine. */
const STEP_TIMEOUT_MS = 240_000;
const POLL_MS = 250;

export interface NodeLabOptions {
  readonly nodeCount: number;
  /** Nodes that join by themselves, and the storage of a registry with what they boot. */
  readonly guests?: { readonly names: readonly string[]; readonly storage: string };
  /** Logs go there: of the control plane, of what runs on the nodes, of the pods. */
  readonly logs: string;
  readonly say: Say;
  /** Aborts the start, and whatever is waited for later. */
  readonly signal?: AbortSignal;
}

/** Makes what needs a network before the lab is started where there is none. */
export async function prepareNodeLab(say: Say): Promise<void> {
  await ensureNodeImage(say);
  await buildContainerImage(say);
}

interface Parts {
  readonly folder: string;
  readonly registry: TestRegistry;
  readonly controlPlane: ControlPlane;
  readonly nodes: readonly RealNode[];
  readonly treelineImage: string;
  readonly signal: AbortSignal | undefined;
}

export class NodeLab implements AsyncDisposable {
  readonly registry: TestRegistry;
  readonly controlPlane: ControlPlane;
  readonly nodes: readonly RealNode[];
  /** Treeline's container image, as the nodes know it. */
  readonly treelineImage: string;
  /** Holds all that the lab has, but for the logs. */
  readonly folder: string;
  readonly #signal: AbortSignal | undefined;
  readonly #resources: AsyncDisposableStack;

  private constructor(
    { folder, registry, controlPlane, nodes, treelineImage, signal }: Parts,
    resources: AsyncDisposableStack,
  ) {
    this.folder = folder;
    this.registry = registry;
    this.controlPlane = controlPlane;
    this.nodes = nodes;
    this.treelineImage = treelineImage;
    this.#signal = signal;
    this.#resources = resources;
  }

  /** Returns when version 1 of the operating system runs on all nodes and they are Ready. */
  static async start({ nodeCount, guests, logs, say, signal }: NodeLabOptions): Promise<NodeLab> {
    await makeLabNetwork(nodeCount);
    await using started = new AsyncDisposableStack();
    const place = started.use(await LabFolder.claim(say));
    const folder = place.path;
    signal?.throwIfAborted();
    const storage = join(folder, 'registry');
    await cp(await ensureNodeImage(say), storage, { recursive: true });
    // Blobs go by their digests, and the repositories have other names.
    if (guests !== undefined) await cp(guests.storage, storage, { recursive: true });
    const registry = started.use(await startRegistry({ storage, address: REGISTRY_ADDRESS }));
    const treeline = await containerImage();
    await pushContainerImages(treeline, registry.host);
    const treelineImage = `${treeline.name}:${treeline.tag}`;
    await publishNodeOS(registry.url, '1');
    const names = Array.from({ length: nodeCount }, (_, index) => `node-${index + 1}`);
    const controlPlane = started.use(
      await startControlPlane({
        controllerManager: true,
        nodeLifecycle: true,
        scheduler: true,
        nodes: [...names, ...(guests?.names ?? [])],
        parentFolder: folder,
      }),
    );
    signal?.throwIfAborted();
    const image = `${registry.host}/${NODE_OS}:1`;
    started.defer(() => keepLogs(folder, controlPlane, names, logs));
    const disks = await makeNodeDisks({ folder: disksOf(folder), names, image, plainHttpHost: registry.host });
    signal?.throwIfAborted();
    const nodes: RealNode[] = [];
    for (const [index, name] of names.entries()) {
      const number = index + 1;
      const sysroot = disks.get(name) ?? '';
      await writeConfiguration(
        sysroot,
        nodeConfiguration({
          name,
          number,
          cgroup: place.cgroup(name),
          kubeconfig: controlPlane.kubeconfig(controlPlane.nodeToken(name)),
          registry: registry.host,
          pauseImage: `${registry.host}/pause:1`,
          mirrored: RELEASE_REGISTRY,
        }),
      );
      const logFile = join(logs, `${name}.log`);
      await mkdir(logs, { recursive: true });
      nodes.push(started.use(new RealNode({ name, number, sysroot, cgroup: place.cgroup(name), logFile })));
    }
    const lab = new NodeLab({ folder, registry, controlPlane, nodes, treelineImage, signal }, started.move());
    try {
      await Promise.all(nodes.map((node) => node.powerOn()));
      await Promise.all(nodes.map((node) => lab.ready(node)));
      return lab;
    } catch (error) {
      await lab[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Of the operating system, as `host:port/name:tag`. */
  image(version: string): string {
    return `${this.registry.host}/${NODE_OS}:${version}`;
  }

  node(name: string): RealNode {
    const node = this.nodes.find((one) => one.name === name);
    if (node === undefined) throw new Error(`the lab has no node ${name}`);
    return node;
  }

  /**
   * `kubectl apply -k manifests/base`, through an overlay of what only a lab needs: the registry speaks plain HTTP. Returns when
   * operator and agents run.
   */
  async install(): Promise<void> {
    const overlay = join(this.folder, 'overlay');
    await mkdir(overlay);
    const plainHttp = [
      { op: 'add', path: '/spec/template/spec/containers/0/args/-', value: `--plain-http=${this.registry.host}` },
    ];
    const kustomization = {
      resources: [relative(overlay, MANIFESTS)],
      patches: [{ target: { kind: 'Deployment', name: 'treeline-operator' }, patch: stringify(plainHttp) }],
    };
    await writeFile(join(overlay, 'kustomization.yaml'), stringify(kustomization));
    await this.controlPlane.kubectl(['apply', '--server-side', '-k', overlay]);
    const timeout = `--timeout=${STEP_TIMEOUT_MS / 1000}s`;
    for (const workload of ['daemonset/treeline-agent', 'deployment/treeline-operator']) {
      await this.controlPlane.kubectl(['rollout', 'status', `--namespace=${DEFAULT_NAMESPACE}`, timeout, workload]);
    }
  }

  /** Waits until the kubelet says that the node is Ready, in the boot that it is in. */
  async ready(node: RealNode): Promise<void> {
    await this.eventually(`${node.name} is Ready`, async () => {
      if (node.failure !== undefined) throw new Error(node.failure);
      const { body } = await this.controlPlane.call({ path: `/api/v1/nodes/${node.name}` });
      const { conditions = [], nodeInfo } = (body['status'] ?? {}) as NodeStatus;
      const isReady = conditions.some(({ type, status }) => type === 'Ready' && status === 'True');
      return isReady && nodeInfo?.bootID === node.boots.at(-1);
    });
  }

  async applyImage(name: string, spec: object): Promise<void> {
    const body = { apiVersion: 'treeline.dev/v1alpha1', kind: 'OSImage', metadata: { name }, spec };
    await this.controlPlane.kubectl(['apply', '--server-side', '--force-conflicts', '-f', '-'], {
      input: JSON.stringify(body),
    });
  }

  async nodeOS(name: string): Promise<NodeOS | undefined> {
    const { code, body } = await this.controlPlane.call({ path: `/apis/treeline.dev/v1alpha1/nodeoses/${name}` });
    return code === 200 ? (body as unknown as NodeOS) : undefined;
  }

  async osImage(name: string): Promise<OSImage> {
    return (await this.controlPlane.call({ path: `/apis/treeline.dev/v1alpha1/osimages/${name}` }))
      .body as unknown as OSImage;
  }

  /** Looks again and again until `look` finds something; throws with all that is known when it never does. */
  async eventually<T>(what: string, look: () => Promise<T | undefined | false>): Promise<T> {
    const deadline = Date.now() + STEP_TIMEOUT_MS;
    for (;;) {
      this.#signal?.throwIfAborted();
      const found = await look();
      if (found !== undefined && found !== false) return found;
      if (Date.now() > deadline) throw new Error(`${what}: that did not come.\n${await this.#whatIsKnown()}`);
      await sleep(POLL_MS);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#resources.disposeAsync();
  }

  async #whatIsKnown(): Promise<string> {
    const show = (...args: readonly string[]) => this.controlPlane.kubectl(args).catch(String);
    const parts = [
      await show('get', 'nodes,pods', '--all-namespaces', '--output=wide'),
      await show('get', 'osimages,nodeoses', '--output=yaml'),
      await show('get', 'events', '--all-namespaces', '--sort-by=.lastTimestamp'),
    ];
    return parts.join('\n');
  }
}

interface NodeStatus {
  readonly conditions?: readonly { readonly type: string; readonly status: string }[];
  readonly nodeInfo?: { readonly bootID: string };
}

function disksOf(folder: string): string {
  return join(folder, 'disks');
}

/** What the servers of the control plane, containerd, the kubelets and the pods have written. */
async function keepLogs(
  folder: string,
  controlPlane: ControlPlane,
  names: readonly string[],
  logs: string,
): Promise<void> {
  for (const file of await readdir(controlPlane.folder)) {
    if (file.endsWith('.log')) await cp(join(controlPlane.folder, file), join(logs, file));
  }
  for (const name of names) {
    const log = join(disksOf(folder), name, 'sysroot/ostree/deploy', NODE_OS, 'var/log');
    const filter = (path: string) => !path.startsWith(join(log, 'containers'));
    if (existsSync(log)) await cp(log, join(logs, name), { recursive: true, filter });
  }
}
