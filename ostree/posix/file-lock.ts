/**
 * Open-file-description locks, the kind that libostree takes. They belong to the descriptor: they hold between threads
 * and between descriptors of one process, and vanish with the descriptor. `flock(2)` locks are another kind and would
 * not keep libostree out. fcntl(2), "Open file description locks".
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { OstreeError } from '../errors.ts';
import { lastError, libc } from './libc.ts';

export type LockKind = 'shared' | 'exclusive';

export interface LockWait {
  /** Milliseconds after which to give up. */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
}

const F_OFD_SETLK = 37;
const F_RDLCK = 0;
const F_WRLCK = 1;
/** sizeof(struct flock) on 64-bit Linux; all fields but l_type stay zero: SEEK_SET, 0, to the end of the file. */
const FLOCK_BYTES = 32;

// We poll as libostree does: a blocking wait could be neither timed out nor aborted.
const FIRST_POLL_MS = 20;
const LONGEST_POLL_MS = 1000;

/** Locks the whole file if that is possible at once. The descriptor must be open for reading (shared) or writing. */
export function tryLock(fd: number, kind: LockKind): boolean {
  const lock = Buffer.alloc(FLOCK_BYTES);
  lock.writeInt16LE(kind === 'shared' ? F_RDLCK : F_WRLCK);
  if (libc().fcntl(fd, F_OFD_SETLK, lock) === 0) return true;
  const error = lastError('fcntl F_OFD_SETLK');
  if (error.code === 'EAGAIN' || error.code === 'EACCES') return false;
  throw error;
}

/**
 * Calls `attempt` until it returns something, with growing, jittered pauses. Throws LockTimeout, naming `what`, when
 * the time is up, or the signal's reason when it fires.
 */
export async function pollForLock<Held>(what: string, wait: LockWait, attempt: () => Held | undefined): Promise<Held> {
  const deadline = performance.now() + wait.timeoutMs;
  let pause = FIRST_POLL_MS;
  for (;;) {
    wait.signal?.throwIfAborted();
    const held = attempt();
    if (held !== undefined) return held;
    if (performance.now() >= deadline) {
      throw new OstreeError(
        'LockTimeout',
        `${what} has been locked by another process for ${Math.round(wait.timeoutMs / 1000)} s; ` +
          'see which one with lslocks(8), or try again later',
      );
    }
    const remaining = Math.max(1, deadline - performance.now());
    const jittered = pause * (0.75 + Math.random() / 2);
    await sleep(Math.min(jittered, remaining), undefined, { signal: wait.signal }).catch((error: unknown) => {
      wait.signal?.throwIfAborted();
      throw error;
    });
    pause = Math.min(pause * 2, LONGEST_POLL_MS);
  }
}
