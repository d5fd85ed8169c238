/**
 * A whole fleet on one machine: a real control plane with Treeline's manifests, a real registry with three versions of an
 * operating system, nodes with a sysroot on version 1 and an agent each, one operator, and a workload that minds being
 * drained. Operator and agents are processes of their own with the ServiceAccounts and roles that the manifests give.
 */
import { copyFile, mkdir, mkdtemp, readdir, writeFile } from 'node:fs/promises';
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
import { withSignal } from './treeline-command.ts';
import { createWorkload } from './workload.ts';

/** Long enough for `--keep` to be played with for a day. */
const TOKEN_SECONDS = 86_400;
/** A machine's reboot, cut down to what makes the order of things visible. */
const BOOT_DELAY_MS = 2_000;
/** One more than nodes, so that some drains meet the budget and wait, but not all of them for long. */
const REPLICAS_BEYOND_NODES = 1;
/** Imports are bound by the processor; more at once only makes each of them wait. */
const INSTALLATIONS_AT_ONCE = 2;

export interface FleetOptions {
  readonly nodes: number;
  readonly os: OSRepository;
  /** Default 2000. */
  readonly bootDelayMs?: number;
  /** Whether there are pods to drain. Default: with two nodes or more; pods of a single node have nowhere to go. */
  readonly workload?: boolean;
  /** Folder that logs are kept in after the end; absent: they go with the rest. */
  readonly logFolder?: string;
  /** Told what is being done. */
  readonly say?: (sentence: string) => void;
  /** Aborts the start; what was started by then is stopped. */
  readonly signal?: AbortSignal;
}

export class Fleet implements AsyncDisposable {
  /** Logs of the operator, the agents and, once they have stopped, of the control plane. */
  readonly logFolder: string;
  readonly controlPlane: ControlPlane;
  readonly os: PublishedOS;
  readonly kubelet: KubeletStandIn;
  readonly machines: readonly Machine[];
  readonly #resources: AsyncDisposableStack;
  readonly #registryStorage: string;
  readonly #operatorKubeconfig: string;
  #registry: TestRegistry;
  #operator: SupervisedProcess | undefined;
  #operatorLives = 0;

  constructor(parts: FleetParts, resources: AsyncDisposableStack) {
    this.logFolder = parts.logFolder;
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
        // Like a pod, every life has a name of its own, so a killed leader's lease must run out.
        `--identity=operator-${++this.#operatorLives}`,
        '--health=127.0.0.1:0',
        `--plain-http=${this.#registry.host}`,
      ],
      join(this.logFolder, 'operator.log'),
    );
  }

  get operatorPid(): number | undefined {
    return this.#operator?.pid;
  }

  async killOperator(): Promise<void> {
    await this.#operator?.kill();
  }

  async killRegistry(): Promise<void> {
    await this.#registry.kill();
  }

  /** Starts a killed registry again under the same address, with the same content; with `users`, for these only. */
  async restartRegistry(users?: Readonly<Record<string, string>>): Promise<void> {
    const port = this.#registry.port;
    this.#registry = await startRegistry({ storage: this.#registryStorage, port, ...(users && { users }) });
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
  readonly logFolder: string;
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
  const logFolder = options.logFolder ?? join(folder, 'logs');
  await mkdir(logFolder, { recursive: true });
  if (options.logFolder !== undefined) {
    started.defer(async () => {
      await writeFile(join(logFolder, 'registry.log'), registry.log());
      await copyLogs(controlPlane.folder, logFolder);
    });
  }
  signal?.throwIfAborted();
  const [os] = await Promise.all([
    publishOS(options.os, { registry, say, ...withSignal(signal) }),
    installTreeline(controlPlane),
  ]);
  signal?.throwIfAborted();

  const kubelet = started.use(new KubeletStandIn(controlPlane));
  const parts = { folder, logFolder, controlPlane, os, kubelet, registry, registryStorage };
  say(`Installing version 1 on ${options.nodes} nodes and registering them.`);
  const machines = await installMachines(parts, options, started);
  if (options.workload ?? options.nodes > 1) {
    say('Creating a Deployment with a PodDisruptionBudget, so that draining means something.');
    await createWorkload(controlPlane, options.nodes + REPLICAS_BEYOND_NODES);
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

type MachineParts = Pick<FleetParts, 'folder' | 'logFolder' | 'controlPlane' | 'os' | 'kubelet' | 'registry'>;

/** Makes all machines, a few at a time; waits for every one of them even when one fails, so that nothing runs on. */
async function installMachines(
  parts: MachineParts,
  options: FleetOptions,
  started: AsyncDisposableStack,
): Promise<readonly Machine[]> {
  const names = Array.from({ length: options.nodes }, (_, index) => `node-${index + 1}`);
  const machines = new Map<string, Machine>();
  const waiting = names.values();
  const install = async () => {
    for (const name of waiting) {
      options.signal?.throwIfAborted();
      machines.set(name, started.use(await makeMachine(name, parts, options)));
    }
  };
  const results = await Promise.allSettled(Array.from({ length: INSTALLATIONS_AT_ONCE }, install));
  for (const result of results) if (result.status === 'rejected') throw result.reason;
  return names.flatMap((name) => machines.get(name) ?? []);
}

async function makeMachine(name: string, parts: MachineParts, options: FleetOptions): Promise<Machine> {
  const { controlPlane, os, kubelet, registry } = parts;
  const folder = join(parts.folder, name);
  await mkdir(folder);
  const sysroot = await makeSysroot({
    folder,
    stateroot: os.name,
    image: os.versions[1].reference,
    plainHttpHost: registry.host,
    ...withSignal(options.signal),
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
    logFile: join(parts.logFolder, `${name}.log`),
  });
}

async function copyLogs(from: string, to: string): Promise<void> {
  for (const name of await readdir(from)) {
    if (name.endsWith('.log')) await copyFile(join(from, name), join(to, name));
  }
}
