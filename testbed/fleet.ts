/**
 * A whole fleet on one machine: a real control plane with Treeline's manifests, a real registry with three versions of an
 * operating system, nodes with a sysroot on version 1 and an agent each, one operator, and a workload that minds being
 * drained. Operator and agents are processes of their own with the ServiceAccounts and roles that the manifests give.
 */
import { mkdir, mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DEFAULT_NAMESPACE } from '../api/index.ts';
import { startControlPlane } from './control-plane.ts';
import type { ControlPlane } from './control-plane.ts';
import { AGENT_ACCOUNT, OPERATOR_ACCOUNT, installTreeline } from './control-plane-treeline.ts';
import { KubeletStandIn } from './kubelet-stand-in.ts';
import { Machine } from './machine.ts';
import { publishOS } from './os-publication.ts';
import type { PublishedOS } from './os-publication.ts';
import type { OSRepository } from './os-repository.ts';
import { startRegistry } from './registry.ts';
import type { TestRegistry } from './registry.ts';
import { SupervisedProcess } from './supervised-process.ts';
import { makeSysroot, removeWithSysroots } from './sysroot.ts';
import { createWorkload } from './workload.ts';

/** Long enough for `--keep` to be played with for a day. */
const TOKEN_SECONDS = 86_400;
/** A machine's reboot, cut down to what makes the order of things visible. */
const BOOT_DELAY_MS = 2_000;
/** More than one per node, so that a drain meets the budget. */
const REPLICAS_PER_NODE = 2;

export interface FleetOptions {
  readonly nodes: number;
  readonly os: OSRepository;
  /** Default 2000. */
  readonly bootDelayMs?: number;
  /** False leaves the nodes without pods. Default true. */
  readonly workload?: boolean;
  /** Told what is being done. */
  readonly say?: (sentence: string) => void;
  /** Aborts the start; what was started by then is stopped. */
  readonly signal?: AbortSignal;
}

export class Fleet implements AsyncDisposable {
  /** Holds the sysroots and all logs. */
  readonly folder: string;
  readonly controlPlane: ControlPlane;
  readonly os: PublishedOS;
  readonly kubelet: KubeletStandIn;
  readonly machines: readonly Machine[];
  readonly #resources: AsyncDisposableStack;
  readonly #registryStorage: string;
  readonly #operatorKubeconfig: string;
  #registry: TestRegistry;
  #operator: SupervisedProcess | undefined;

  constructor(parts: FleetParts, resources: AsyncDisposableStack) {
    this.folder = parts.folder;
    this.controlPlane = parts.controlPlane;
    this.os = parts.os;
    this.kubelet = parts.kubelet;
    this.machines = parts.machines;
    this.#registry = parts.registry;
    this.#registryStorage = parts.registryStorage;
    this.#operatorKubeconfig = parts.operatorKubeconfig;
    this.#resources = resources;
  }

  get registry(): TestRegistry {
    return this.#registry;
  }

  /** Starts the operator; it is not kept running: whoever kills it starts it again. */
  startOperator(): void {
    this.#operator = new SupervisedProcess(
      [
        'operator',
        `--kubeconfig=${this.#operatorKubeconfig}`,
        `--namespace=${DEFAULT_NAMESPACE}`,
        `--plain-http=${this.#registry.host}`,
      ],
      join(this.folder, 'operator.log'),
    );
  }

  async killOperator(): Promise<void> {
    await this.#operator?.kill();
  }

  async killRegistry(): Promise<void> {
    await this.#registry.kill();
  }

  /** Starts a killed registry again under the same address, with the same content. */
  async restartRegistry(): Promise<void> {
    this.#registry = await startRegistry({ storage: this.#registryStorage, port: this.#registry.port });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#operator?.stop();
    await Promise.all(this.machines.map(async (machine) => machine[Symbol.asyncDispose]()));
    await this.#registry.stop();
    await this.#resources.disposeAsync();
  }
}

interface FleetParts {
  readonly folder: string;
  readonly controlPlane: ControlPlane;
  readonly os: PublishedOS;
  readonly kubelet: KubeletStandIn;
  readonly machines: readonly Machine[];
  readonly registry: TestRegistry;
  readonly registryStorage: string;
  readonly operatorKubeconfig: string;
}

/** Starts everything and resolves when all nodes are Ready on version 1 and operator and agents run. */
export async function startFleet(options: FleetOptions): Promise<Fleet> {
  const { say = () => undefined, signal } = options;
  await using started = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), 'treeline-fleet-'));
  started.defer(async () => removeWithSysroots(folder));

  say('Starting a registry, etcd, kube-apiserver, kube-controller-manager and kube-scheduler on loopback.');
  const registryStorage = join(folder, 'registry');
  const registry = started.use(await startRegistry({ storage: registryStorage }));
  signal?.throwIfAborted();
  const controlPlane = started.use(
    await startControlPlane({ controllerManager: true, nodeLifecycle: true, scheduler: true }),
  );
  signal?.throwIfAborted();
  const [os] = await Promise.all([publishOS(options.os, { registry, say }), installTreeline(controlPlane)]);
  signal?.throwIfAborted();

  const kubelet = started.use(new KubeletStandIn(controlPlane));
  const parts = { folder, controlPlane, os, kubelet, registry, registryStorage };
  const machines: Machine[] = [];
  say(`Installing version 1 on ${options.nodes} nodes and registering them.`);
  for (let index = 1; index <= options.nodes; index++) {
    machines.push(started.use(await makeMachine(`node-${index}`, parts, options)));
    signal?.throwIfAborted();
  }
  if (options.workload !== false) {
    say('Creating a Deployment with a PodDisruptionBudget, so that draining means something.');
    await createWorkload(controlPlane, options.nodes * REPLICAS_PER_NODE);
    signal?.throwIfAborted();
  }

  say('Starting the operator and one agent per node, each with the credentials that the manifests give it.');
  const operatorKubeconfig = await controlPlane.kubeconfigFor(
    await controlPlane.tokenFor(OPERATOR_ACCOUNT, undefined, TOKEN_SECONDS),
  );
  const fleet = new Fleet({ ...parts, machines, operatorKubeconfig }, started.move());
  for (const machine of machines) machine.start();
  fleet.startOperator();
  return fleet;
}

async function makeMachine(
  name: string,
  parts: Pick<FleetParts, 'folder' | 'controlPlane' | 'os' | 'kubelet' | 'registry'>,
  options: FleetOptions,
): Promise<Machine> {
  const { controlPlane, os, kubelet, registry } = parts;
  const folder = join(parts.folder, name);
  await mkdir(folder);
  const sysroot = await makeSysroot({
    folder,
    stateroot: os.name,
    image: os.versions[1].reference,
    plainHttpHost: registry.host,
  });
  await kubelet.register({ name, runDirectory: sysroot.runDirectory });
  const token = await controlPlane.tokenFor(AGENT_ACCOUNT, { node: name }, TOKEN_SECONDS);
  return new Machine({
    name,
    sysroot,
    kubelet,
    kubeconfig: await controlPlane.kubeconfigFor(token),
    namespace: DEFAULT_NAMESPACE,
    plainHttpHost: registry.host,
    bootDelayMs: options.bootDelayMs ?? BOOT_DELAY_MS,
    logFile: join(parts.folder, `${name}.log`),
  });
}
