/** The shipped operator as a process of its own, with its own ServiceAccount, and what it costs. Linux only: it reads proc(5). */
import { spawn, type ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { request } from 'undici';
import type { ControlPlane } from '../../testbed/control-plane.ts';
import { operatorToken } from '../../testbed/control-plane-treeline.ts';
import { shippedNodeOptions } from './operator-heap.ts';
import { readMetrics, type Sample } from './prometheus-text.ts';

/** sysconf(_SC_CLK_TCK), on every Linux that Node runs on. */
const TICKS_PER_SECOND = 100;
const START_ATTEMPTS = 600;

export class OperatorProcess implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #health: string;

  private constructor(child: ChildProcess, health: string) {
    this.#child = child;
    this.#health = health;
  }

  /** Starts it and waits until its caches are full. */
  static async start(
    controlPlane: ControlPlane,
    entry: string,
    registryHost: string,
    port: number,
    further: readonly string[] = [],
  ): Promise<OperatorProcess> {
    const kubeconfig = await controlPlane.kubeconfigFor(await operatorToken(controlPlane));
    const health = `127.0.0.1:${port}`;
    const flags = [
      '--kubeconfig',
      kubeconfig,
      '--health',
      health,
      '--plain-http',
      registryHost,
      '--log-level',
      'warn',
      ...further,
    ];
    const child = spawn(process.execPath, [entry, 'operator', ...flags], {
      env: { ...process.env, NODE_OPTIONS: shippedNodeOptions() },
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    const operator = new OperatorProcess(child, `http://${health}`);
    for (let attempt = 1; ; attempt++) {
      const ready = await request(`${operator.#health}/readyz`).then(
        async ({ statusCode, body }) => (await body.dump(), statusCode === 200),
        () => false,
      );
      if (ready) return operator;
      if (child.exitCode !== null || attempt === START_ATTEMPTS) throw new Error('the operator does not get ready');
      await sleep(100);
    }
  }

  async metrics(): Promise<readonly Sample[]> {
    const { body } = await request(`${this.#health}/metrics`);
    return readMetrics(await body.text());
  }

  /** User and system time so far. */
  get cpuSeconds(): number {
    const text = readFileSync(`/proc/${this.#child.pid}/stat`, 'latin1');
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
  }

  /** Largest resident set so far. */
  get peakBytes(): number {
    const text = readFileSync(`/proc/${this.#child.pid}/status`, 'latin1');
    return Number(/^VmHWM:\s+(\d+) kB$/m.exec(text)?.[1]) * 1024;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ended = new Promise((resolve) => this.#child.once('exit', resolve));
    if (this.#child.exitCode !== null) return;
    this.#child.kill('SIGTERM');
    await ended;
  }
}
