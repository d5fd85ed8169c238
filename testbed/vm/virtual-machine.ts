/**
 * A machine that really boots: QEMU with emulated processors, never KVM, so that it runs wherever tests run. It is one
 * process of ours that dies with us; a power cut is its SIGKILL. The first serial port is logged, the second is the
 * console by which tests speak to the guest (guest-console.ts). Guests reach the host's loopback at 10.0.2.2, and nothing
 * reaches them.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { readFile } from 'node:fs/promises';

/** Where guests see the loopback of the machine that runs them. */
export const HOST_FROM_GUEST = '10.0.2.2';

/** Emulated processors are slow, and slower on a busy machine: nobody waits for these but a test that fails anyway. */
const BOOT_TIMEOUT_MS = 600_000;
const COMMAND_TIMEOUT_MS = 300_000;
/** Enough of the console's log to explain what went wrong. */
const LOG_CHARACTERS = 4000;

export interface VirtualMachineOptions {
  /** Raw image of its disk. */
  readonly disk: string;
  /** What kernel and initramfs say goes here, over all boots. */
  readonly logFile: string;
  readonly memoryMebibytes?: number;
}

export interface GuestResult {
  readonly status: number;
  readonly output: string;
}

interface PendingCommand {
  readonly resolve: (result: GuestResult) => void;
  readonly reject: (error: Error) => void;
}

export class VirtualMachine implements AsyncDisposable {
  readonly #options: VirtualMachineOptions;
  readonly #pending = new Map<string, PendingCommand>();
  readonly #boots: string[] = [];
  readonly #waiting = new Set<() => void>();
  #process: ChildProcess | undefined;
  #onSince = 0;
  #firstBootSeconds: number | undefined;

  /** It is off until `powerOn`. */
  constructor(options: VirtualMachineOptions) {
    this.#options = options;
  }

  /** Boot IDs in the order in which the console said them. */
  get boots(): readonly string[] {
    return this.#boots;
  }

  /** How long this machine, on this host, took to be up when it was first switched on. */
  get firstBootSeconds(): number {
    if (this.#firstBootSeconds === undefined) throw new Error('the machine has not been up yet');
    return this.#firstBootSeconds;
  }

  get pid(): number | undefined {
    return this.#process?.pid;
  }

  powerOn(): void {
    if (this.#process !== undefined) throw new Error('the machine is on already');
    const child = spawn('setpriv', ['--pdeathsig', 'KILL', '--', 'qemu-system-x86_64', ...this.#arguments()], {
      stdio: ['pipe', 'pipe', 'pipe'],
      // A group of its own: a terminal's Ctrl-C goes to us, who stop it in order, not to it.
      detached: true,
      env: { PATH: process.env['PATH'] ?? '/usr/bin:/bin' },
    });
    this.#process = child;
    this.#onSince = performance.now();
    let complaints = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => (complaints += text));
    createInterface({ input: child.stdout }).on('line', (line) => this.#heard(line));
    child.stdin.on('error', (error) => (complaints += error.message));
    child.once('error', (error) => this.#lost(`QEMU cannot be run (${error.message}): npm run setup installs it`));
    child.once('exit', (code, signal) => {
      if (this.#process === child) this.#process = undefined;
      this.#lost(`the machine went off (${signal ?? `exit code ${code}`}) ${complaints}`);
    });
  }

  /** Pulls the plug: what the guest has not written by now is lost. The disk stays. */
  async cutPower(): Promise<void> {
    const child = this.#process;
    if (child === undefined) return;
    const gone = once(child, 'exit');
    child.kill('SIGKILL');
    await gone;
  }

  /**
   * Waits until the guest has booted for the `count`th time since it was first switched on; returns its boot ID.
   * Throws with the end of the console's log.
   */
  async waitForBoot(count: number, timeoutMs = BOOT_TIMEOUT_MS): Promise<string> {
    const deadline = Date.now() + timeoutMs;
    for (;;) {
      const bootID = this.#boots[count - 1];
      if (bootID !== undefined) return bootID;
      if (this.#process === undefined) throw new Error(`the machine is off; its console said:\n${await this.log()}`);
      if (Date.now() > deadline) throw new Error(`boot ${count} did not come; the console said:\n${await this.log()}`);
      await this.#change(Math.min(1000, timeoutMs));
    }
  }

  /** Runs a shell script in the guest, as root, and returns how it ended. Throws when the guest goes away meanwhile. */
  async tryRun(script: string, timeoutMs = COMMAND_TIMEOUT_MS): Promise<GuestResult> {
    const input = this.#process?.stdin;
    if (input === undefined || input === null) throw new Error('the machine is off');
    const id = randomBytes(6).toString('hex');
    const { promise, resolve, reject } = Promise.withResolvers<GuestResult>();
    this.#pending.set(id, { resolve, reject });
    const timer = setTimeout(() => reject(new Error(`the guest did not answer: ${script}`)), timeoutMs);
    try {
      input.write(`${id} ${Buffer.from(script).toString('base64')}\n`);
      return await promise;
    } finally {
      clearTimeout(timer);
      this.#pending.delete(id);
    }
  }

  /** The same for a script that must succeed; returns what it said, without the last line's end. */
  async run(script: string, timeoutMs?: number): Promise<string> {
    const { status, output } = await this.tryRun(script, timeoutMs);
    if (status !== 0) throw new Error(`in the guest, status ${status}: ${script}\n${output}`);
    return output;
  }

  /** Puts a file into the guest. */
  async writeFile(path: string, content: string, mode = '0644'): Promise<void> {
    const base64 = Buffer.from(content).toString('base64');
    await this.run(
      `mkdir -p "$(dirname ${path})" && echo ${base64} | base64 -d > ${path}.new && chmod ${mode} ${path}.new && mv ${path}.new ${path}`,
    );
  }

  /** The end of what the first serial port said. */
  async log(): Promise<string> {
    return (await readFile(this.#options.logFile, 'utf8').catch(() => '')).slice(-LOG_CHARACTERS);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.cutPower();
  }

  #arguments(): readonly string[] {
    const { disk, logFile, memoryMebibytes = 1024 } = this.#options;
    return [
      '-machine',
      'pc',
      '-accel',
      'tcg,thread=multi,tb-size=256',
      '-cpu',
      'max,la57=off',
      // One: kernels from 6.12 on die now and then of more under emulation.
      '-smp',
      '1',
      '-m',
      String(memoryMebibytes),
      '-display',
      'none',
      '-vga',
      'none',
      '-no-user-config',
      '-nodefaults',
      '-monitor',
      'none',
      '-drive',
      // What the guest has written survives our SIGKILL in the page cache of the host.
      `file=${disk},if=none,id=disk,format=raw,cache=unsafe,discard=unmap`,
      '-device',
      'virtio-blk-pci,drive=disk,bootindex=1',
      '-netdev',
      'user,id=network,ipv6=off',
      '-device',
      'virtio-net-pci,netdev=network,romfile=',
      '-device',
      'virtio-rng-pci',
      '-chardev',
      `file,id=log,path=${logFile},append=on`,
      '-serial',
      'chardev:log',
      '-chardev',
      'stdio,id=console,signal=off',
      '-serial',
      'chardev:console',
    ];
  }

  #heard(line: string): void {
    const boot = /READY ([0-9a-f-]{36})/.exec(line)?.[1];
    if (boot !== undefined) {
      this.#abandon(`the guest has booted anew`);
      this.#firstBootSeconds ??= (performance.now() - this.#onSince) / 1000;
      if (this.#boots.at(-1) !== boot) this.#boots.push(boot);
      this.#wake();
      return;
    }
    const [, id = '', status, base64 = ''] = /END (\S+) (\d+) (\S*)$/.exec(line) ?? [];
    this.#pending.get(id)?.resolve({ status: Number(status), output: Buffer.from(base64, 'base64').toString() });
  }

  #lost(why: string): void {
    this.#abandon(why);
    this.#wake();
  }

  #abandon(why: string): void {
    for (const { reject } of this.#pending.values()) reject(new Error(why));
    this.#pending.clear();
  }

  #wake(): void {
    for (const wake of this.#waiting) wake();
  }

  async #change(timeoutMs: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, timeoutMs);
    this.#waiting.add(resolve);
    await promise;
    this.#waiting.delete(resolve);
    clearTimeout(timer);
  }
}
