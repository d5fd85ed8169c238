/**
 * One machine of the fleet: a sysroot on disk and the agent that runs on it. When the agent "reboots" the sandbox, the
 * machine is down for a while, as a real one is: no agent, Node NotReady. When the agent dies otherwise, it is started
 * again, as a DaemonSet would do.
 */
import { readFile, rm } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { KubeletStandIn } from './kubelet-stand-in.ts';
import { bootIDPath, drawBootID } from './sysroot.ts';
import type { Sysroot } from './sysroot.ts';
import { SupervisedProcess } from './supervised-process.ts';

/** How long a dead agent stays away. */
const RESTART_DELAY_MS = 500;
const BOOT_POLL_MS = 100;
/** After a reboot was asked for, the agent has this long to end by itself. */
const AGENT_EXIT_GRACE_MS = 3_000;
/** `treeline agent` on a sandbox ends with it when the host is to be rebooted (docs/reference/cli.md). */
const EXIT_REBOOTING = 3;

export interface MachineOptions {
  readonly name: string;
  readonly sysroot: Sysroot;
  /** What the agent speaks to the API with. */
  readonly kubeconfig: string;
  readonly namespace: string;
  readonly kubelet: KubeletStandIn;
  /** Registry that speaks plain HTTP. */
  readonly plainHttpHost: string;
  /** How long a reboot takes. */
  readonly bootDelayMs: number;
  /** The agent's output, of all its lives, is appended here. */
  readonly logFile: string;
}

export class Machine implements AsyncDisposable {
  readonly name: string;
  readonly sysroot: Sysroot;
  readonly #options: MachineOptions;
  readonly #stop = new AbortController();
  #agent: SupervisedProcess | undefined;
  #supervision: Promise<void> | undefined;
  #reboots = 0;
  #held: Promise<void> | undefined;

  constructor(options: MachineOptions) {
    this.name = options.name;
    this.sysroot = options.sysroot;
    this.#options = options;
  }

  /** How often it has rebooted since `start`. */
  get reboots(): number {
    return this.#reboots;
  }

  get agentPid(): number | undefined {
    return this.#agent?.pid;
  }

  /** Starts the agent and keeps it running. */
  start(): void {
    this.#supervision ??= this.#supervise();
  }

  /** Kills the agent as a crash would; it is started again half a second later. */
  async killAgent(): Promise<void> {
    await this.#agent?.kill();
  }

  /** Kills the agent and keeps it away until the returned function is called. */
  async holdAgent(): Promise<() => void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#held = promise;
    await this.killAgent();
    return () => {
      this.#held = undefined;
      resolve();
    };
  }

  /** Pulls the plug: the agent dies where it is, what the machine had only in memory is lost, and it boots again. */
  async cutPower(): Promise<void> {
    await rm(this.sysroot.runDirectory, { recursive: true, force: true });
    await this.killAgent();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#agent?.stop();
    await this.#supervision;
  }

  async #supervise(): Promise<void> {
    const { kubelet, bootDelayMs } = this.#options;
    let bootID = await this.#bootID();
    while (!this.#stop.signal.aborted) {
      const rebooted = await this.#runAgent(bootID);
      await this.#held;
      if (this.#stop.signal.aborted) return;
      if (!rebooted) {
        await this.#pause(RESTART_DELAY_MS);
        continue;
      }
      this.#reboots += 1;
      await kubelet.machineDown(this.name);
      await this.#pause(bootDelayMs);
      bootID = await this.#boot();
    }
  }

  /** Runs one life of the agent; true if the machine rebooted with it. */
  async #runAgent(bootID: string | undefined): Promise<boolean> {
    const { name, namespace, kubeconfig, sysroot, plainHttpHost, logFile } = this.#options;
    const agent = new SupervisedProcess(
      [
        'agent',
        '--host=sandbox',
        `--sysroot=${sysroot.path}`,
        `--run-directory=${sysroot.runDirectory}`,
        `--node-name=${name}`,
        `--namespace=${namespace}`,
        `--kubeconfig=${kubeconfig}`,
        `--plain-http=${plainHttpHost}`,
      ],
      logFile,
    );
    this.#agent = agent;
    const life = { over: false };
    const ended = agent.ended.then((end) => {
      life.over = true;
      return end;
    });
    while (!life.over && (await this.#bootID()) === bootID) await Promise.race([ended, sleep(BOOT_POLL_MS)]);
    await Promise.race([ended, sleep(AGENT_EXIT_GRACE_MS)]);
    const end = life.over ? await ended : await agent.kill();
    return end.code === EXIT_REBOOTING || (await this.#bootID()) !== bootID;
  }

  /** Comes up again; after a power cut there is no boot ID until somebody draws one, which is what a kernel would do. */
  async #boot(): Promise<string | undefined> {
    const { kubelet } = this.#options;
    const bootID = await this.#bootID();
    if (bootID === undefined) await drawBootID(this.sysroot.runDirectory);
    await kubelet.machineUp(this.name);
    return this.#bootID();
  }

  async #bootID(): Promise<string | undefined> {
    return readFile(bootIDPath(this.sysroot.runDirectory), 'utf8').catch(() => undefined);
  }

  async #pause(durationMs: number): Promise<void> {
    await sleep(durationMs, undefined, { signal: this.#stop.signal }).catch(() => undefined);
  }
}
