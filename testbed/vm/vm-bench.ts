/** Virtual machines that `treeline install` wrote, as nodes of a cluster whose operator runs. */
import { cp, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { DEFAULT_NAMESPACE, type NodeOS, type OSImage } from '../../api/index.ts';
import { runCommand } from '../../tools/setup/command.ts';
import { ClaimedFolder, type FolderKind } from '../claimed-folder.ts';
import { startControlPlane, type ControlPlane } from '../control-plane.ts';
import { installTreeline, OPERATOR_ACCOUNT } from '../control-plane-treeline.ts';
import { startRegistry, type TestRegistry } from '../registry.ts';
import { SupervisedProcess } from '../supervised-process.ts';
import { installGuest, type InstalledGuest } from './guest-disk.ts';
import { ensureGuestImage, GUEST } from './guest-image.ts';
import { GuestNode } from './guest-node.ts';
import { publishFirstVersion } from './guest-versions.ts';
import { VirtualMachine } from './virtual-machine.ts';

const BENCH: FolderKind = { prefix: 'treeline-vm-', what: 'a bench of virtual machines' };

const POLL_MS = 500;
/** An emulated machine may need this long for one step, on a busy host. */
const STEP_TIMEOUT_MS = 900_000;

export interface BenchMachine {
  /** Of its Node. */
  readonly name: string;
  readonly machine: VirtualMachine;
  readonly disk: string;
}

export interface VmBenchOptions {
  /** Folder for the logs of machines and operator. */
  readonly logs: string;
  /** How many machines; default 1. */
  readonly machines?: number;
  readonly say?: (line: string) => void;
}

interface Parts {
  readonly folder: string;
  readonly registry: TestRegistry;
  readonly controlPlane: ControlPlane;
  readonly machines: readonly BenchMachine[];
  readonly installed: InstalledGuest;
}

export class VmBench implements AsyncDisposable {
  /** Holds all that the bench has, but for the logs. */
  readonly folder: string;
  readonly registry: TestRegistry;
  readonly controlPlane: ControlPlane;
  readonly machines: readonly BenchMachine[];
  readonly installed: InstalledGuest;
  readonly #resources: AsyncDisposableStack;

  private constructor({ folder, registry, controlPlane, machines, installed }: Parts, resources: AsyncDisposableStack) {
    this.folder = folder;
    this.registry = registry;
    this.controlPlane = controlPlane;
    this.machines = machines;
    this.installed = installed;
    this.#resources = resources;
  }

  /** Installs version 1 on disks, boots them and joins them to a cluster whose operator runs. */
  static async start({ logs, machines: count = 1, say = () => {} }: VmBenchOptions): Promise<VmBench> {
    const storage = await ensureGuestImage(say);
    await using started = new AsyncDisposableStack();
    const { path: folder } = started.use(await ClaimedFolder.claim(BENCH, say));
    await mkdir(logs, { recursive: true });
    await cp(storage, join(folder, 'registry'), { recursive: true });
    const registry = started.use(await startRegistry({ storage: join(folder, 'registry') }));
    await publishFirstVersion(registry, folder);
    const names = Array.from({ length: count }, (_, index) => `guest-${index + 1}`);
    const disks = names.map((name) => join(folder, `${name}.img`));
    const [first = '', ...copies] = disks;
    say('Installing version 1 on a disk with treeline install.');
    const installed = await installGuest(registry, first);
    for (const copy of copies) await runCommand('cp', ['--sparse=always', first, copy]);
    const machines = names.map((name, index) => {
      const disk = disks[index] ?? '';
      const machine = started.use(new VirtualMachine({ disk, logFile: join(logs, `${name}.log`) }));
      machine.powerOn();
      return { name, machine, disk };
    });
    say('Booting, and starting a control plane meanwhile.');
    const controlPlane = started.use(
      await startControlPlane({
        controllerManager: true,
        // One machine has no workload, and nobody waits for it.
        nodeLifecycle: count > 1,
        scheduler: count > 1,
        parentFolder: folder,
      }),
    );
    await installTreeline(controlPlane);
    await Promise.all(machines.map(({ machine }) => machine.waitForBoot(1)));
    const bench = new VmBench({ folder, registry, controlPlane, machines, installed }, started.move());
    try {
      await bench.#join(join(folder, 'run'), logs);
      return bench;
    } catch (error) {
      await bench[Symbol.asyncDispose]();
      throw error;
    }
  }

  get #first(): BenchMachine {
    const [first] = this.machines;
    if (first === undefined) throw new Error('a bench has at least one machine');
    return first;
  }

  /** The first, which most tests are about. */
  get machine(): VirtualMachine {
    return this.#first.machine;
  }

  get disk(): string {
    return this.#first.disk;
  }

  image(version: string): string {
    return `${this.registry.host}/${GUEST}:${version}`;
  }

  /** An OSImage's spec: rolls `version` out on all machines. */
  spec(version: string, more: object = {}): object {
    return {
      nodeSelector: { matchLabels: { 'kubernetes.io/os': 'linux' } },
      image: { reference: this.image(version) },
      rollout: { maxUnavailable: 1 },
      ...more,
    };
  }

  /** What runs, by three witnesses: a file of the version, the boot entry, ostree. */
  async running(): Promise<{ version: string; commandLine: string; status: string }> {
    const text = await this.machine.run('cat /usr/lib/treeline-testbed-release /proc/cmdline; ostree admin status');
    const [release = '', commandLine = '', ...status] = text.split('\n');
    return { version: release.replace('VERSION=', ''), commandLine, status: status.join('\n') };
  }

  async applyImage(spec: object): Promise<void> {
    const body = { apiVersion: 'treeline.dev/v1alpha1', kind: 'OSImage', metadata: { name: 'guests' }, spec };
    await this.controlPlane.kubectl(['apply', '--server-side', '--force-conflicts', '-f', '-'], {
      input: JSON.stringify(body),
    });
  }

  async nodeOS(name = this.#first.name): Promise<NodeOS | undefined> {
    const { code, body } = await this.controlPlane.call({ path: `/apis/treeline.dev/v1alpha1/nodeoses/${name}` });
    return code === 200 ? (body as unknown as NodeOS) : undefined;
  }

  async osImage(): Promise<OSImage> {
    return (await this.controlPlane.call({ path: '/apis/treeline.dev/v1alpha1/osimages/guests' }))
      .body as unknown as OSImage;
  }

  /** Looks again and again until `look` finds something; throws with all that is known when it never does. */
  async eventually<T>(what: string, look: () => Promise<T | undefined | false>): Promise<T> {
    const deadline = Date.now() + STEP_TIMEOUT_MS;
    for (;;) {
      const found = await look();
      if (found !== undefined && found !== false) return found;
      if (Date.now() > deadline) {
        const nodeOSes = await Promise.all(this.machines.map(({ name }) => this.nodeOS(name)));
        const shown = nodeOSes.map((one) => one && { name: one.metadata.name, spec: one.spec, status: one.status });
        const known = JSON.stringify({ nodeOSes: shown, status: (await this.osImage()).status }, null, 1);
        throw new Error(`${what}: that did not come.\n${known}\n${await this.#journal()}\n${await this.machine.log()}`);
      }
      await sleep(POLL_MS);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#resources.disposeAsync();
  }

  async #join(folder: string, logs: string): Promise<void> {
    const { controlPlane, registry } = this;
    for (const { name, machine } of this.machines) {
      const options = { name, machine, controlPlane, registryHost: registry.host, folder: join(folder, name) };
      this.#resources.use(await GuestNode.join(options));
    }
    const kubeconfig = await controlPlane.kubeconfigFor(
      await controlPlane.tokenFor(OPERATOR_ACCOUNT, undefined, 14_400),
    );
    const operator = new SupervisedProcess(
      [
        'operator',
        `--kubeconfig=${kubeconfig}`,
        `--namespace=${DEFAULT_NAMESPACE}`,
        '--identity=operator-1',
        '--health=127.0.0.1:0',
        `--plain-http=${registry.host}`,
      ],
      join(logs, 'operator.log'),
    );
    this.#resources.defer(async () => {
      await writeFile(join(logs, 'journal.log'), await this.#journal());
      await operator.stop();
    });
  }

  async #journal(): Promise<string> {
    try {
      return await this.machine.run('journalctl --boot --no-pager --lines=200', 60_000);
    } catch (error) {
      return `the guest's journal cannot be read: ${String(error)}`;
    }
  }
}
