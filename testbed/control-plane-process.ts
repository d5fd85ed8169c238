/**
 * One server process of the test control plane. It is known by its pid, writes to a log file that errors quote, and
 * dies with us even when we are killed: `setpriv --pdeathsig` (util-linux) has the kernel send it SIGKILL.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/** Below the kernel's ephemeral range, so that no outgoing connection takes the port while its server is restarted. */
const FIRST_PORT = 20_000;
const PORT_COUNT = 10_000;

/** Lines of a log that an error quotes: enough for the reason, short enough to read. */
const QUOTED_LINES = 15;

export class ServerProcess {
  readonly name: string;
  readonly #command: readonly string[];
  readonly #logFile: string;
  #child: ChildProcess | undefined;

  /** `command` is the binary and its arguments; the log is appended to across restarts. */
  constructor(name: string, command: readonly string[], logFile: string) {
    this.name = name;
    this.#command = command;
    this.#logFile = logFile;
  }

  get pid(): number | undefined {
    return this.running ? this.#child?.pid : undefined;
  }

  get running(): boolean {
    return this.#child !== undefined && this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** Starts the process; does nothing if it runs. Throws when the binary cannot be executed. */
  async start(): Promise<void> {
    if (this.running) return;
    const log = openSync(this.#logFile, 'a');
    try {
      const child = spawn('setpriv', ['--pdeathsig', 'KILL', '--', ...this.#command], {
        stdio: ['ignore', log, log],
        // A group of its own: a terminal's Ctrl-C goes to us, who stop it in order, not to it.
        detached: true,
        env: { PATH: process.env['PATH'] ?? '' },
      });
      this.#child = child;
      await new Promise<void>((resolve, reject) => {
        child.once('spawn', resolve);
        child.once('error', reject);
      });
    } finally {
      closeSync(log);
    }
  }

  /** Kills the process at once (its data is throw-away) and returns when it is gone. */
  async kill(): Promise<void> {
    const child = this.#child;
    if (child === undefined || !this.running) return;
    const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()));
    child.kill('SIGKILL');
    await gone;
  }

  /** Calls `probe` until it holds; throws with the end of the log when the process exits or `timeoutMs` passes. */
  async waitUntil(probe: () => Promise<boolean>, timeoutMs: number): Promise<void> {
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      if (!this.running) throw new Error(`${this.name} exited while it was being waited for:\n${await this.logTail()}`);
      if (await probe()) return;
      if (performance.now() > deadline) {
        throw new Error(`${this.name} was not ready after ${timeoutMs} ms:\n${await this.logTail()}`);
      }
      await sleep(50);
    }
  }

  async logTail(): Promise<string> {
    const text = await readFile(this.#logFile, 'utf8');
    return text.trimEnd().split('\n').slice(-QUOTED_LINES).join('\n');
  }
}

/** Returns `count` different free loopback ports. Another process may still take one: callers start afresh then. */
export async function freePorts(count: number): Promise<number[]> {
  const ports = new Set<number>();
  while (ports.size < count) {
    const port = FIRST_PORT + Math.floor(Math.random() * PORT_COUNT);
    if (!ports.has(port) && (await isFree(port))) ports.add(port);
  }
  return [...ports];
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}
