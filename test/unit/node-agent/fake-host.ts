/** A host in memory, for tests of the loop: what a machine with one staged slot does, and nothing else. */
import type { Deployment, HostRollback, HostStatus } from '../../../api/index.ts';
import type { Host, StageRequest } from '../../../node-agent/host/host.ts';

export const digestOf = (letter: string) => `sha256:${letter.repeat(64)}`;

/** Checksum of the commit that stands for a digest in these tests. */
export const checksumOf = (digest: string) => digest.slice('sha256:'.length);

export class FakeHost implements Host {
  readonly sysroot = '/nowhere';
  bootID = 'boot-1';
  credentialsKey: string | undefined;
  booted: Deployment = { checksum: checksumOf(digestOf('a')), digest: digestOf('a') };
  staged: Deployment | undefined;
  fallback: Deployment | undefined;
  /** Every call that changes something, in order. */
  readonly calls: string[] = [];
  /** Deadline of what is on trial, by its checksum. */
  trial: { readonly checksum: string; readonly deadlineSeconds: number } | undefined;
  /** Whether the units of the trial are active. */
  unitsActive = true;
  /** Errors to throw, by call. */
  readonly failures = new Map<string, Error>();
  onReboot = () => {};

  async status(): Promise<HostStatus> {
    const failure = this.failures.get('status');
    if (failure !== undefined) throw failure;
    return {
      bootID: this.bootID,
      booted: this.booted,
      ...(this.credentialsKey === undefined ? {} : { credentialsKey: this.credentialsKey }),
      ...(this.staged === undefined ? {} : { staged: this.staged }),
      ...(this.fallback === undefined ? {} : { rollback: this.fallback }),
      ...(this.trial === undefined || this.trial.checksum !== this.booted.checksum
        ? {}
        : { trial: { deadlineSeconds: this.trial.deadlineSeconds } }),
    };
  }

  async stage({ checksum, origin }: StageRequest): Promise<void> {
    this.#call('stage');
    this.staged = { checksum, digest: `sha256:${checksum}`, image: origin, locked: true };
  }

  async discard(): Promise<void> {
    this.#call('discard');
    this.staged = undefined;
  }

  async lock(): Promise<void> {
    this.#call('lock');
    if (this.staged !== undefined) this.staged = { ...this.staged, locked: true };
  }

  async unlock(digest: string): Promise<void> {
    this.#call('unlock');
    if (this.staged?.digest !== digest) throw new Error('not staged');
    this.staged = { ...this.staged, locked: false };
  }

  async rollback(): Promise<void> {
    this.#call('rollback');
  }

  async arm(policy: HostRollback | undefined): Promise<void> {
    if (policy === undefined || this.staged === undefined) {
      this.trial = undefined;
      return;
    }
    this.#call('arm');
    this.trial = { checksum: this.staged.checksum, deadlineSeconds: policy.deadlineSeconds };
  }

  async endTrial(): Promise<boolean> {
    this.#call('endTrial');
    if (this.unitsActive) this.trial = undefined;
    return this.unitsActive;
  }

  async reboot(): Promise<void> {
    this.#call('reboot');
    if (this.staged?.locked === false) this.booted = { ...this.staged };
    this.staged = undefined;
    this.bootID += '+';
    this.onReboot();
  }

  #call(name: string): void {
    this.calls.push(name);
    const failure = this.failures.get(name);
    if (failure !== undefined) throw failure;
  }
}
