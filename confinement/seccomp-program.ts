/**
 * Filters of system calls as the kernel takes them: programs for its classic BPF, which are run with the number, the
 * architecture and the arguments of each call. Pure: what is permitted is an argument.
 *
 * Source: seccomp(2), linux/seccomp.h, linux/filter.h, linux/audit.h. Both architectures have the low word of an argument first.
 */

export type Architecture = 'x64' | 'arm64';

/** What an argument must be, of which only the low word counts: that is all that the kernel takes of these. */
export interface Condition {
  readonly argument: number;
  /** The bits that are looked at; all of them by default. */
  readonly mask?: number;
  readonly oneOf: readonly number[];
  /** The error that the call gives otherwise. */
  readonly otherwise: number;
}

export interface PermittedCall {
  readonly number: number;
  /** All of them must hold. */
  readonly conditions?: readonly Condition[];
}

/** As a kernel answers that does not have a call: whoever only tries whether there is one does without. */
export const ENOSYS = 38;
/** The same on every architecture that we run on. */
const IO_URING_SETUP = 425;

/** linux/audit.h: AUDIT_ARCH_X86_64, AUDIT_ARCH_AARCH64. */
const AUDIT_ARCHITECTURES: Readonly<Record<Architecture, number>> = { x64: 0xc000003e, arm64: 0xc00000b7 };

const ALLOW = 0x7fff0000;
const FAIL_WITH = 0x00050000;
const KILL_PROCESS = 0x80000000;

/** Of struct seccomp_data. */
const NUMBER_OFFSET = 0;
const ARCHITECTURE_OFFSET = 4;
const ARGUMENTS_OFFSET = 16;

/** BPF_LD | BPF_W | BPF_ABS; BPF_ALU | BPF_AND | BPF_K; BPF_JMP | BPF_JEQ | BPF_K; BPF_RET | BPF_K. */
const LOAD = 0x20;
const AND = 0x54;
const JUMP_IF_EQUAL = 0x15;
const RETURN = 0x06;

const INSTRUCTION_BYTES = 8;

/** One of struct sock_filter: what to do, how many to skip if equal and if not, and with what. */
type Instruction = readonly [code: number, ifEqual: number, ifNot: number, operand: number];

const load = (offset: number): Instruction => [LOAD, 0, 0, offset];
const leave = (action: number): Instruction => [RETURN, 0, 0, action];

/**
 * Permits what is listed, and nothing else. A call of another architecture's table, whose numbers mean other things, ends the
 * process.
 */
export function permittingProgram(architecture: Architecture, calls: readonly PermittedCall[]): Buffer {
  return encode([
    load(ARCHITECTURE_OFFSET),
    [JUMP_IF_EQUAL, 1, 0, AUDIT_ARCHITECTURES[architecture]],
    leave(KILL_PROCESS),
    load(NUMBER_OFFSET),
    ...calls.flatMap(({ number, conditions = [] }): readonly Instruction[] => {
      const permit = [...conditions.flatMap((condition) => instructionsOf(condition)), leave(ALLOW)];
      return [[JUMP_IF_EQUAL, 0, permit.length, number], ...permit];
    }),
    leave(FAIL_WITH | ENOSYS),
  ]);
}

/** Permits everything but a new io_uring. */
export function programWithoutIoUring(): Buffer {
  return encode([load(NUMBER_OFFSET), [JUMP_IF_EQUAL, 0, 1, IO_URING_SETUP], leave(FAIL_WITH | ENOSYS), leave(ALLOW)]);
}

/** Goes on behind them if the condition holds. */
function instructionsOf({ argument, mask, oneOf, otherwise }: Condition): readonly Instruction[] {
  return [
    load(ARGUMENTS_OFFSET + 8 * argument),
    ...(mask === undefined ? [] : [[AND, 0, 0, mask] as const]),
    ...oneOf.map((value, index): Instruction => [JUMP_IF_EQUAL, oneOf.length - index, 0, value]),
    leave(FAIL_WITH | otherwise),
  ];
}

function encode(instructions: readonly Instruction[]): Buffer {
  const program = Buffer.alloc(INSTRUCTION_BYTES * instructions.length);
  for (const [index, [code, ifEqual, ifNot, operand]] of instructions.entries()) {
    const at = INSTRUCTION_BYTES * index;
    program.writeUInt16LE(code, at);
    program.writeUInt8(ifEqual, at + 2);
    program.writeUInt8(ifNot, at + 3);
    program.writeUInt32LE(operand, at + 4);
  }
  return program;
}
