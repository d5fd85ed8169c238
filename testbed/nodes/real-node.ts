/**
 * A node with a real kubelet and a real containerd, which runs what its disk holds: namespaces of its own, pivoted into the
 * deployment that the boot entries name (boot.sh). "Reboot" is what its process 1 makes of it (init.sh), a power cut is SIGKILL.
 * The network namespace is everybody's. It dies with us, even when we are killed.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { closeSync, existsSync, openSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { runCommand, tryCommand } from '../../tools/setup/command.ts';
import { makeCgroups, removeCgroups } from './cgroups.ts';
import { nodeBridge } from './node-configuration.ts';

const POLL_MS = 50;

export interface RealNodeOptions {
  readonly name: string;
  /** Of all nodes, from 1. */
  readonly number: number;
  readonly sysroot: string;
  /** Directory for its pods in every cgroup hierarchy. */
  readonly cgroup: string;
  /** What it says before its own logs are there. */
  readonly logFile: string;
}

export class RealNode implements AsyncDisposable {
  readonly name: string;
  readonly #options: RealNodeOptions;
  readonly #boots: string[] = [];
  #running: Boot | undefined;
  #failure: string | undefined;
  /** What is under way between two boots. */
  #changing: Promise<void> = Promise.resolve();

  /** It is off until `powerOn`. */
  constructor(options: RealNodeOptions) {
    this.name = options.name;
    this.#options = options;
  }

  /** Boot IDs, in order. */
  get boots(): readonly string[] {
    return this.#boots;
  }

  /** Why it went off, when nobody asked for it. */
  get failure(): string | undefined {
    return this.#failure;
  }

  /** The repository on its disk, for those outside. */
  get repository(): string {
    return join(this.#options.sysroot, 'ostree', 'repo');
  }

  get isOn(): boolean {
    return this.#running !== undefined;
  }

  async powerOn(): Promise<void> {
    await this.#changing;
    if (this.isOn) throw new Error(`${this.name} is on already`);
    await this.#boot();
  }

  /** Pulls the plug; the disk stays. Returns when nothing of the node runs any more. */
  async cutPower(): Promise<void> {
    await this.#changing;
    const boot = this.#running;
    if (boot === undefined) return;
    this.#running = undefined;
    boot.holder.kill('SIGKILL');
    await boot.ended;
    await gone(boot.init);
    await this.#sweep();
  }

  /** Runs a program on the node, as root, with its root and its processes. Throws with its last words if it fails. */
  async run(...command: readonly string[]): Promise<string> {
    return runCommand('nsenter', await this.#entering(command));
  }

  /** The same; returns how it ended. */
  async tryRun(...command: readonly string[]) {
    return tryCommand('nsenter', await this.#entering(command));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.cutPower();
  }

  async #boot(): Promise<void> {
    const { sysroot, cgroup, logFile } = this.#options;
    await makeCgroups(cgroup);
    const bootID = randomUUID();
    const log = openSync(logFile, 'a');
    const namespaces = [
      '--pid',
      '--mount',
      '--uts',
      '--ipc',
      '--fork',
      '--kill-child=KILL',
      '--propagation',
      'private',
    ];
    const program = ['sh', join(import.meta.dirname, 'boot.sh'), sysroot, bootID];
    const holder = spawn('setpriv', ['--pdeathsig', 'KILL', '--', 'unshare', ...namespaces, '--', ...program], {
      stdio: ['ignore', log, log],
      // A group of its own: a terminal's Ctrl-C goes to us, who stop it in order, not to it.
      detached: true,
      // Nothing of the test machine's.
      env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' },
    });
    closeSync(log);
    const ended = new Promise<number | null>((resolve) => {
      holder.once('exit', resolve);
      holder.once('error', () => resolve(null));
    });
    const boot: Boot = { holder, ended, init: await childOf(holder) };
    this.#boots.push(bootID);
    this.#running = boot;
    void ended.then((code) => {
      // Else the power was cut.
      if (this.#running !== boot) return;
      this.#running = undefined;
      if (code !== 0) this.#failure = `${this.name} ended with status ${code}: see ${logFile}`;
      this.#changing = code === 0 ? this.#sweep().then(() => this.#boot()) : this.#sweep();
    });
  }

  /** What a machine that is off does not have, and what is left of one here. */
  async #sweep(): Promise<void> {
    await removeCgroups(this.#options.cgroup);
    await tryCommand('ip', ['link', 'delete', nodeBridge(this.#options.number)]);
  }

  async #entering(command: readonly string[]): Promise<readonly string[]> {
    await this.#changing;
    if (this.#running === undefined) throw new Error(`${this.name} is off`);
    return [
      `--target=${this.#running.init}`,
      '--mount',
      '--pid',
      '--uts',
      '--ipc',
      '--root',
      '--wd=/',
      '--',
      ...command,
    ];
  }
}

interface Boot {
  /** unshare(1), which ends as the node's process 1 does. */
  readonly holder: ChildProcess;
  readonly ended: Promise<number | null>;
  /** Process 1 of the node, by the pid that it has here. */
  readonly init: number;
}

async function childOf(holder: ChildProcess): Promise<number> {
  for (;;) {
    const { pid } = holder;
    const children = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8').catch(() => '');
    if (children.trim() !== '') return Number(children.trim().split(' ')[0]);
    if (holder.exitCode !== null || holder.signalCode !== null) throw new Error('the node ended before it booted');
    await sleep(POLL_MS);
  }
}

async function gone(pid: number): Promise<void> {
  while (existsSync(`/proc/${pid}`)) await sleep(POLL_MS);
}
