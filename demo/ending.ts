/** How a demo ends: told to its end, stopped by somebody, failed, or not begun; its exit code, and what is left of it then. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Display } from './display.ts';

const EXIT_FAILED = 1;
const EXIT_USAGE = 2;
/** As a shell has it for what Ctrl-C has ended. */
const EXIT_INTERRUPTED = 130;

/** Says why the demo was not begun. */
export class UsageError extends Error {}

/** Runs a demo as this process's program: its result is the exit code. */
export async function runAsProgram(demo: () => Promise<number>): Promise<void> {
  try {
    process.exitCode = await demo();
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    process.stderr.write(`${error.message}\n`);
    process.exitCode = EXIT_USAGE;
  }
}

/** @throws UsageError */
export function requireRoot(): void {
  if (process.getuid?.() === 0) return;
  throw new UsageError('The demo makes operating system trees and needs root: run it with sudo or in a root shell.');
}

export class Ending {
  readonly #display: Display;
  readonly #stop = new AbortController();

  /** From now on Ctrl-C and its like stop the demo in order. */
  constructor(display: Display) {
    this.#display = display;
    // The terminal sends Ctrl-C to everybody in the foreground; more of them do not make the clean-up faster.
    for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, () => this.#stop.abort());
    this.signal.addEventListener('abort', this.#announce);
  }

  /** Aborts when somebody stops the demo. */
  get signal(): AbortSignal {
    return this.#stop.signal;
  }

  /** Says nothing of being stopped any more: another process does. */
  leaveSayingToOthers(): void {
    this.signal.removeEventListener('abort', this.#announce);
  }

  /** Returns the exit code: that of `act`, or what an error makes of it, which is said. */
  async of(act: () => Promise<number>): Promise<number> {
    try {
      return await act();
    } catch (error) {
      this.#display.end();
      if (this.signal.aborted) return EXIT_INTERRUPTED;
      process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
      return EXIT_FAILED;
    }
  }

  /** The same for a story that writes logs into a folder, which is kept only if the story fails. */
  async withLogs(tell: (folder: string) => Promise<void>): Promise<number> {
    const folder = await mkdtemp(join(tmpdir(), 'treeline-demo-logs-'));
    const code = await this.of(async () => {
      await tell(folder);
      return 0;
    });
    if (code === EXIT_FAILED) process.stderr.write(`The logs are kept in ${folder}\n`);
    else await rm(folder, { recursive: true });
    return code;
  }

  readonly #announce = (): void => {
    this.#display.end();
    this.#display.say('Stopping and removing everything that was started.');
  };
}
