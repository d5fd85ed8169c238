/**
 * The I/O priority of this process. Linux keeps one for each thread, and a thread or process that is started has that of
 * the thread which started it; the C library has no function for it.
 *
 * Source: ioprio_set(2), linux/ioprio.h.
 */
import { readdirSync } from 'node:fs';
import { OstreeError, systemErrorCode, ioError } from '../errors.ts';
import { lastError, libc } from './libc.ts';

/** `idle`: only when nobody else wants the disk. `best-effort`: as everybody, but last among them. */
export type IoPriority = 'idle' | 'best-effort';

const SYSTEM_CALL = new Map<string, number>([
  ['x64', 251],
  ['arm64', 30],
]);
const WHO_PROCESS = 1;
const CLASS_SHIFT = 13;
const LOWEST_LEVEL = 7;
const VALUES: Readonly<Record<IoPriority, number>> = {
  idle: 3 << CLASS_SHIFT,
  'best-effort': (2 << CLASS_SHIFT) | LOWEST_LEVEL,
};

/**
 * Sets it for all threads, and thereby for those and for the processes that they will start.
 * @throws {OstreeError} `PermissionDenied` or `Io` when the kernel refuses, or the machine is of an unknown kind
 */
export function setIoPriority(priority: IoPriority): void {
  const call = SYSTEM_CALL.get(process.arch);
  if (call === undefined) {
    throw new OstreeError('Io', `The I/O priority cannot be set on ${process.arch} yet; leave it out`);
  }
  const done = new Set<string>();
  // A thread that was started meanwhile may have started from one that had not been changed.
  for (let found = true; found;) {
    found = false;
    for (const thread of readdirSync('/proc/self/task')) {
      if (done.has(thread)) continue;
      found = true;
      done.add(thread);
      setForThread(call, Number(thread), VALUES[priority]);
    }
  }
}

function setForThread(call: number, thread: number, value: number): void {
  if (libc().syscall(call, WHO_PROCESS, thread, value) === 0) return;
  const error = lastError('ioprio_set');
  // It has ended.
  if (systemErrorCode(error) === 'ESRCH') return;
  throw ioError('set the I/O priority', error);
}
