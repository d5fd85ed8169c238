/**
 * A disk that logs what is written to it and fails on demand: what device-mapper's log-writes and flakey targets do,
 * where there is no device-mapper. It is a file served through FUSE by a process of our own; with a loop device on it,
 * any file system can be mounted, and its flushes arrive here as fsync.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { DiskEvent } from './disk-log.ts';
import type { MountNamespace } from './mount-namespace.ts';

/** What the disk's process can be told. Each order is answered. */
export type DiskOrder =
  /** Fail with EIO after so many more writes and flushes, for so many times; without `times`, until healed. */
  | { readonly kind: 'fail'; readonly after: number; readonly times?: number }
  | { readonly kind: 'heal' }
  | { readonly kind: 'count' }
  | { readonly kind: 'report' };

export interface DiskAnswer {
  /** How many there are, or all of them to `report`. */
  readonly events: number | readonly DiskEvent[];
}

export class FaultDisk implements AsyncDisposable {
  /** The disk, a file in the namespace. */
  readonly path: string;
  /** What was written, a file in the namespace; see `DiskEvent.position`. */
  readonly logPath: string;
  readonly #namespace: MountNamespace;
  readonly #process: ChildProcess;

  private constructor(namespace: MountNamespace, path: string, logPath: string, process: ChildProcess) {
    this.#namespace = namespace;
    this.path = path;
    this.logPath = logPath;
    this.#process = process;
  }

  /** Serves `image`, a file in the namespace, whose content the disk has and changes. */
  static async start(namespace: MountNamespace, image: string): Promise<FaultDisk> {
    const [path, logPath] = [`${image}.disk`, `${image}.log`];
    await namespace.run('touch', path);
    const server = fileURLToPath(new URL('./fault-disk-server.ts', import.meta.url));
    const outside = (inside: string): string => namespace.outside(inside);
    const child = spawn(
      'setpriv',
      [
        '--pdeathsig',
        'KILL',
        '--',
        process.execPath,
        server,
        outside(image),
        outside(logPath),
        path,
        `${namespace.pid}`,
      ],
      { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] },
    );
    const disk = new FaultDisk(namespace, path, logPath, child);
    await disk.#answer();
    return disk;
  }

  /** Fails, with EIO, all writes and flushes, or `times` of them, after the next `after` have gone well. */
  async failAfter(after: number, times?: number): Promise<void> {
    await this.#ask({ kind: 'fail', after, ...(times !== undefined && { times }) });
  }

  async heal(): Promise<void> {
    await this.#ask({ kind: 'heal' });
  }

  /** How many writes and flushes there have been. */
  async count(): Promise<number> {
    const { events } = await this.#ask({ kind: 'count' });
    return typeof events === 'number' ? events : events.length;
  }

  /** All writes and flushes so far. */
  async events(): Promise<readonly DiskEvent[]> {
    const { events } = await this.#ask({ kind: 'report' });
    return typeof events === 'number' ? [] : events;
  }

  /** Takes the disk away. Unmount what is on it before. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    const ended = once(this.#process, 'exit');
    try {
      await this.#namespace.run('umount', this.path);
    } finally {
      this.#process.kill('SIGKILL');
      await ended;
    }
  }

  async #ask(order: DiskOrder): Promise<DiskAnswer> {
    const answer = this.#answer();
    this.#process.send(order);
    return await answer;
  }

  async #answer(): Promise<DiskAnswer> {
    const answered = new AbortController();
    const ended = once(this.#process, 'exit', { signal: answered.signal }).then(([code]) => {
      throw new Error(`the process of the fault disk ${this.path} ended with ${String(code)}`);
    });
    try {
      const [answer] = (await Promise.race([once(this.#process, 'message'), ended])) as [DiskAnswer];
      return answer;
    } finally {
      // Whoever asks often would have as many listeners.
      answered.abort();
    }
  }
}
