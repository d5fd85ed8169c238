/**
 * A process of Treeline's own, started from this checkout. It writes to a log file, is known by its pid, and dies with
 * us even when we are killed: `setpriv --pdeathsig` (util-linux) has the kernel see to that.
 */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { TREELINE } from './treeline-command.ts';

/** A process that has not ended by then is killed: nothing of ours needs longer to let go. */
const STOP_GRACE_MS = 5_000;

export interface ProcessEnd {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export class SupervisedProcess {
  /** Resolves when the process has ended, however. */
  readonly ended: Promise<ProcessEnd>;
  readonly #child: ChildProcess;

  /** Starts `bin/treeline` with these arguments; its output is appended to `logFile`. */
  constructor(commandArguments: readonly string[], logFile: string) {
    const log = openSync(logFile, 'a');
    try {
      this.#child = spawn('setpriv', ['--pdeathsig', 'KILL', '--', TREELINE, ...commandArguments], {
        stdio: ['ignore', log, log],
        // A group of its own: a terminal's Ctrl-C goes to us, who stop it in order, not to it.
        detached: true,
        // Nothing of the caller's environment: what the process may do is what its arguments give it.
        env: {
          PATH: process.env['PATH'] ?? '',
          ...(process.env['NODE_COMPILE_CACHE'] === undefined
            ? {}
            : { NODE_COMPILE_CACHE: process.env['NODE_COMPILE_CACHE'] }),
        },
      });
    } finally {
      closeSync(log);
    }
    this.ended = new Promise((resolve) => {
      this.#child.once('exit', (code, signal) => resolve({ code, signal }));
      this.#child.once('error', () => resolve({ code: 127, signal: null }));
    });
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** Asks it to end, kills it if it does not. */
  async stop(): Promise<ProcessEnd> {
    this.#child.kill('SIGTERM');
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), STOP_GRACE_MS);
    try {
      return await this.ended;
    } finally {
      clearTimeout(timer);
    }
  }

  /** As a crash does: at once, wherever it is. */
  async kill(): Promise<ProcessEnd> {
    this.#child.kill('SIGKILL');
    return this.ended;
  }
}
