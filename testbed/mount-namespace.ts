/**
 * A place for mounts that cannot outlive us. Everything is mounted in a mount namespace of its own, held open by one
 * process that ends with us, even when we are killed: with the namespace go its mounts, with those their loop devices.
 * Files in it are read and written from outside through /proc/PID/root.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rmdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { firstLine } from './first-line.ts';
import { runCommand } from '../tools/setup/command.ts';

/** Where the kernel tells which boot this is. random(4). */
const BOOT_ID = '/proc/sys/kernel/random/boot_id';

export class MountNamespace implements AsyncDisposable {
  /** A tmpfs that only this namespace has. All that is left outside is an empty directory. */
  readonly folder: string;
  readonly #holder: ChildProcess;

  private constructor(folder: string, holder: ChildProcess) {
    this.folder = folder;
    this.#holder = holder;
  }

  /** @param memory most that the tmpfs may hold, as mount(8) takes sizes */
  static async create(memory: string): Promise<MountNamespace> {
    const folder = await mkdtemp(join(tmpdir(), 'treeline-disks-'));
    // `cat` ends when its input does, and that is when we end.
    const holder = spawn(
      'setpriv',
      [
        '--pdeathsig',
        'KILL',
        '--',
        'unshare',
        '--mount',
        '--propagation',
        'private',
        'sh',
        '-c',
        'echo ready; exec cat',
      ],
      { stdio: ['pipe', 'pipe', 'inherit'] },
    );
    await firstLine(holder);
    const namespace = new MountNamespace(folder, holder);
    await namespace.run('mount', '-t', 'tmpfs', '-o', `size=${memory}`, 'treeline-disks', folder);
    return namespace;
  }

  get pid(): number {
    return this.#holder.pid ?? 0;
  }

  /** Where a file of the namespace is for those outside. */
  outside(inside: string): string {
    return `/proc/${this.pid}/root${inside}`;
  }

  /** Runs a program in the namespace. Throws with its last words if it fails. */
  async run(program: string, ...parameters: readonly string[]): Promise<string> {
    return await runCommand('nsenter', this.entering(program, ...parameters));
  }

  /** What to give to nsenter(1) to run a program in the namespace. */
  entering(program: string, ...parameters: readonly string[]): readonly string[] {
    return [`--target=${this.pid}`, '--mount', '--', program, ...parameters];
  }

  /** Inside it is another boot from now on: what is left behind here was, for those outside, before the last reboot. */
  async drawBootId(): Promise<void> {
    const path = join(this.folder, `boot-id-${randomUUID()}`);
    await this.run('sh', '-c', `echo ${randomUUID()} > ${path} && mount --bind ${path} ${BOOT_ID}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#holder.exitCode === null && this.#holder.signalCode === null) {
      const ended = once(this.#holder, 'exit');
      this.#holder.stdin?.end();
      await ended;
    }
    await rmdir(this.folder);
  }
}
