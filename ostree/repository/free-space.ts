/** The space that a repository keeps free, so that an update cannot fill the disk that the host runs from. */
import { statfsSync } from 'node:fs';
import { OstreeError } from '../errors.ts';
import type { Reserve } from './config.ts';

/** Bytes written between two looks at the file system: other processes write too. */
const RECHECK_BYTES = 64 * 1024 * 1024;

/** Bytes that may still be written there beside the reserve, or `atLeast` bytes if that is more; negative when less is free. */
export function freeBeside(path: string, reserve: Reserve, atLeast = 0): number {
  const { bsize, blocks, bfree, bavail } = statfsSync(path);
  const reserved = 'bytes' in reserve ? reserve.bytes : (blocks * bsize * reserve.percent) / 100;
  // As libostree: only root may use the blocks that the file system keeps for root.
  const free = (process.geteuid?.() === 0 ? bfree : bavail) * bsize;
  return free - Math.max(reserved, atLeast);
}

export function describeReserve(reserve: Reserve): string {
  return 'bytes' in reserve ? `${reserve.bytes} bytes` : `${reserve.percent} %`;
}

/** Counts what is written against what may be. One per writing thread; the file system is their common truth. */
export class SpaceBudget {
  readonly #path: string;
  readonly #reserve: Reserve;
  #remaining = 0;

  constructor(path: string, reserve: Reserve) {
    this.#path = path;
    this.#reserve = reserve;
  }

  /** Announces that `bytes` are about to be written. Throws NoSpace if they would eat into the reserve. */
  spend(bytes: number): void {
    if (bytes > this.#remaining) this.#look(bytes);
    this.#remaining -= bytes;
  }

  #look(bytes: number): void {
    const available = freeBeside(this.#path, this.#reserve);
    if (bytes > available) {
      throw new OstreeError(
        'NoSpace',
        `Writing ${bytes} more bytes to ${this.#path} would leave less than the ${describeReserve(this.#reserve)} that it keeps free; ` +
          'free some space, or lower core.min-free-space-percent in its config',
      );
    }
    this.#remaining = Math.min(available, Math.max(bytes, RECHECK_BYTES));
  }
}
