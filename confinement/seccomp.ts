/** Filters of system calls, set for this thread or this process. There is no way back. */
import koffi from 'koffi';
import { getSystemErrorMap } from 'node:util';
import type { Architecture } from './seccomp-program.ts';

/** seccomp(2), and linux/seccomp.h: SECCOMP_SET_MODE_FILTER and flags. */
const SECCOMP: Readonly<Record<Architecture, number>> = { x64: 317, arm64: 277 };
const SET_FILTER = 1;
const FLAGS = {
  /** It alone, and whatever it starts, without making the processor slower than it was. SECCOMP_FILTER_FLAG_SPEC_ALLOW */
  thread: 4,
  /** All threads that there are, or none. SECCOMP_FILTER_FLAG_TSYNC */
  process: 1,
} as const;
/** struct sock_fprog, on 64-bit machines. */
const PROGRAM_BYTES = 16;
const INSTRUCTION_BYTES = 8;

/** The architecture of this machine, if we have filters for it. */
export function filterArchitecture(): Architecture | undefined {
  return process.arch === 'x64' || process.arch === 'arm64' ? process.arch : undefined;
}

/**
 * Filters all system calls from now on, beside the filters that there are already. Throws what the system says, with its
 * code: `ENOSYS` and `EINVAL` are those of a kernel without filters, `EACCES` says that this process might still gain privileges.
 */
export function setFilter(program: Buffer, scope: keyof typeof FLAGS): void {
  const architecture = filterArchitecture();
  if (architecture === undefined) throw new Error(`there is no filter of system calls for ${process.arch}`);
  // Outside the heap: it does not move while the kernel reads it.
  const memory = Buffer.from(new ArrayBuffer(program.length));
  program.copy(memory);
  const header = Buffer.alloc(PROGRAM_BYTES);
  header.writeUInt16LE(program.length / INSTRUCTION_BYTES, 0);
  header.writeBigUInt64LE(koffi.address(memory), 8);
  // Variadic in C; where Linux runs, integers and addresses are passed in the same way.
  const syscall = koffi
    .load(null)
    .func('long syscall(long number, long operation, long flags, const uint8_t *program)') as (
    number: number,
    operation: number,
    flags: number,
    program: Buffer,
  ) => number;
  const result = syscall(SECCOMP[architecture], SET_FILTER, FLAGS[scope], header);
  if (result > 0) throw new Error(`thread ${result} cannot have the filter of system calls`);
  if (result < 0) throw lastError();
}

function lastError(): NodeJS.ErrnoException {
  const errno = koffi.errno();
  const [code, description] = getSystemErrorMap().get(-errno) ?? ['UNKNOWN', `error ${errno}`];
  return Object.assign(new Error(`${code}: ${description}, seccomp`), { code, errno: -errno, syscall: 'seccomp' });
}
