/** One virtual machine that `treeline install` wrote, in a cluster with an operator: what the tests of this tier stand on. */
import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { DEFAULT_NAMESPACE, type NodeOS, type OSImage } from '../../api/index.ts';
import { startControlPlane, type ControlPlane } from '../../testbed/control-plane.ts';
import { installTreeline, OPERATOR_ACCOUNT } from '../../testbed/control-plane-treeline.ts';
import { startRegistry, type TestRegistry } from '../../testbed/registry.ts';
import { SupervisedProcess } from '../../testbed/supervised-process.ts';
import { treeline } from '../../testbed/treeline-command.ts';
import { ensureGuestImage, GUEST } from '../../testbed/vm/guest-image.ts';
import { GuestNode } from '../../testbed/vm/guest-node.ts';
import { publishFirstVersion } from '../../testbed/vm/guest-versions.ts';
import { VirtualMachine } from '../../testbed/vm/virtual-machine.ts';

/** Two versions of the guest, and as much again for what is being staged. */
const DISK_SIZE = '4G';
const POLL_MS = 500;
/** An emulated machine may need this long for one step, on a busy host. */
const STEP_TIMEOUT_MS = 420_000;

/** On the first serial port; the second is the tests'. A panic ends in a reboot, as on a server. */
const KERNEL_ARGUMENTS = ['console=ttyS0,115200', 'quiet', 'panic=3'];

export class VmBench implements AsyncDisposable {
  readonly node = 'guest-1';
  readonly registry: TestRegistry;
  readonly controlPlane: ControlPlane;
  readonly machine: VirtualMachine;
  /** What `treeline install` said. */
  readonly installed: { readonly manifestDigest: string; readonly rootUUID: string };
  readonly #resources: AsyncDisposableStack;

  private constructor(
    parts: Pick<VmBench, 'registry' | 'controlPlane' | 'machine' | 'installed'>,
    resources: AsyncDisposableStack,
  ) {
    this.registry = parts.registry;
    this.controlPlane = parts.controlPlane;
    this.machine = parts.machine;
    this.installed = parts.installed;
    this.#resources = resources;
  }

  /** Installs version 1 on a disk, boots it and joins it to a cluster whose operator runs. Logs go to `logs`. */
  static async start(logs: string): Promise<VmBench> {
    const storage = await ensureGuestImage((line) => process.stdout.write(`${line}\n`));
    await using started = new AsyncDisposableStack();
    const folder = await mkdtemp(join(tmpdir(), 'treeline-vm-'));
    started.defer(() => rm(folder, { recursive: true, force: true }));
    await mkdir(logs, { recursive: true });
    await cp(storage, join(folder, 'registry'), { recursive: true });
    const registry = started.use(await startRegistry({ storage: join(folder, 'registry') }));
    await publishFirstVersion(registry, folder);
    const disk = join(folder, 'disk.img');
    const output = await treeline([
      'install',
      `--image=${registry.host}/${GUEST}:1`,
      `--disk=${disk}`,
      `--size=${DISK_SIZE}`,
      `--os=${GUEST}`,
      `--plain-http=${registry.host}`,
      '--output=json',
      ...KERNEL_ARGUMENTS.map((one) => `--karg=${one}`),
    ]);
    const installed = JSON.parse(output) as VmBench['installed'];
    const machine = started.use(new VirtualMachine({ disk, logFile: join(logs, 'console.log') }));
    machine.powerOn();
    const controlPlane = started.use(await startControlPlane({ controllerManager: true }));
    await installTreeline(controlPlane);
    await machine.waitForBoot(1);
    const bench = new VmBench({ registry, controlPlane, machine, installed }, started.move());
    await bench.#join(join(folder, 'run'), logs);
    return bench;
  }

  image(version: string): string {
    return `${this.registry.host}/${GUEST}:${version}`;
  }

  async applyImage(spec: object): Promise<void> {
    const body = { apiVersion: 'treeline.dev/v1alpha1', kind: 'OSImage', metadata: { name: 'guests' }, spec };
    await this.controlPlane.kubectl(['apply', '--server-side', '--force-conflicts', '-f', '-'], {
      input: JSON.stringify(body),
    });
  }

  async nodeOS(): Promise<NodeOS | undefined> {
    const { code, body } = await this.controlPlane.call({ path: `/apis/treeline.dev/v1alpha1/nodeoses/${this.node}` });
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
        const known = JSON.stringify({ nodeOS: await this.nodeOS(), status: (await this.osImage()).status }, null, 1);
        throw new Error(`${what}: that did not come.\n${known}\n${await this.#journal()}\n${await this.machine.log()}`);
      }
      await sleep(POLL_MS);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#resources.disposeAsync();
  }

  async #join(folder: string, logs: string): Promise<void> {
    const { controlPlane, machine, registry, node: name } = this;
    const options = { name, machine, controlPlane, registryHost: registry.host, folder };
    this.#resources.use(await GuestNode.join(options));
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
