/** A machine that is not there: one staged slot and one booted deployment in memory. Simulated; everything around it is real. */
import { randomUUID } from 'node:crypto';
import type { Deployment, HostStatus } from '../../api/index.ts';
import type { Host, StageRequest } from '../../node-agent/host/host.ts';

export class SimulatedHost implements Host {
  readonly sysroot = '/nowhere';
  readonly #reboot: () => Promise<void>;
  #bootID = randomUUID();
  #booted: Deployment;
  #staged: Deployment | undefined;
  #rollback: Deployment | undefined;

  /** Runs `digest` at first; `reboot` is awaited while it is down. */
  constructor(digest: string, reboot: () => Promise<void>) {
    this.#booted = deployment(digest);
    this.#reboot = reboot;
  }

  async status(): Promise<HostStatus> {
    return {
      bootID: this.#bootID,
      booted: this.#booted,
      architecture: 'amd64',
      ...(this.#staged === undefined ? {} : { staged: this.#staged }),
      ...(this.#rollback === undefined ? {} : { rollback: this.#rollback }),
    };
  }

  async stage({ checksum, origin }: StageRequest): Promise<void> {
    this.#staged = { ...deployment(`sha256:${checksum}`), image: origin, locked: true };
  }

  async discard(): Promise<void> {
    this.#staged = undefined;
  }

  async lock(): Promise<void> {
    if (this.#staged !== undefined) this.#staged = { ...this.#staged, locked: true };
  }

  async unlock(digest: string): Promise<void> {
    if (this.#staged?.digest !== digest) throw new Error(`${digest} is not staged`);
    this.#staged = { ...this.#staged, locked: false };
  }

  async rollback(): Promise<void> {
    throw new Error('nobody rolls back by hand here');
  }

  async arm(): Promise<void> {}

  async endTrial(): Promise<boolean> {
    return true;
  }

  async reboot(): Promise<void> {
    if (this.#staged?.locked === false) {
      this.#rollback = this.#booted;
      this.#booted = deployment(this.#staged.digest ?? '');
    }
    this.#staged = undefined;
    this.#bootID = randomUUID();
    await this.#reboot();
  }
}

/** The commit's checksum is taken for the digest's: nobody looks into either. */
function deployment(digest: string): Deployment {
  return { digest, checksum: digest.slice('sha256:'.length) };
}
