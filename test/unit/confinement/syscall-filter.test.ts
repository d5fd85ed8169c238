/**
 * The filters of system calls, run by a stand-in for the kernel's BPF that knows the five kinds of instructions in them.
 * That the kernel takes them, and does the same, is shown in test/interop/{fetch,unpack}-confined.
 */
import assert from 'node:assert/strict';
import { confiningProgram } from '../../../confinement/permitted-calls.ts';
import { permittingProgram, programWithoutIoUring } from '../../../confinement/seccomp-program.ts';
import { forbiddenCalls } from '../../../testbed/forbidden-calls.ts';

const ARCHITECTURES = { x64: 0xc000003e, arm64: 0xc00000b7 } as const;
const I386 = 0x40000003;

const ALLOWED = 0x7fff0000;
const KILLED = 0x80000000;
const failed = (errno: number): number => 0x00050000 + errno;
const NOT_THERE = failed(38);

/** linux/filter.h: BPF_MAXINSNS. */
const MOST_INSTRUCTIONS = 4096;

interface Call {
  readonly number: number;
  readonly architecture: number;
  readonly parameters?: readonly (number | bigint)[];
}

/** What a program says of a call. Throws where the kernel would refuse the program. */
function run(program: Buffer, { number, architecture, parameters = [] }: Call): number {
  const call = Buffer.alloc(64);
  call.writeUInt32LE(number, 0);
  call.writeUInt32LE(architecture, 4);
  for (const [index, value] of parameters.entries()) call.writeBigUInt64LE(BigInt(value), 16 + 8 * index);
  const count = program.length / 8;
  assert.ok(Number.isInteger(count) && count <= MOST_INSTRUCTIONS);
  let value = 0;
  for (let at = 0; at < count; at++) {
    const operand = program.readUInt32LE(8 * at + 4);
    switch (program.readUInt16LE(8 * at)) {
      case 0x20:
        assert.equal(operand % 4, 0);
        value = call.readUInt32LE(operand);
        break;
      case 0x54:
        value = (value & operand) >>> 0;
        break;
      case 0x15:
        at += program.readUInt8(8 * at + (value === operand ? 2 : 3));
        break;
      case 0x06:
        return operand;
      default:
        throw new Error(`instruction ${at} is of no known kind`);
    }
  }
  throw new Error('it runs over its end');
}

for (const name of ['x64', 'arm64'] as const) {
  const architecture = ARCHITECTURES[name];
  const filters = [true, false].map((network) => ({ network, program: confiningProgram(name, { network }) }));
  const number = (x64: number, arm64: number): number => (name === 'x64' ? x64 : arm64);

  describe(`the filter of a confined process on ${name}`, () => {
    it('has none of the calls that one that has been taken over would want', () => {
      for (const { program } of filters) {
        for (const [call, number] of forbiddenCalls(name)) {
          assert.equal(run(program, { number, architecture }), NOT_THERE, call);
        }
      }
    });

    it('answers calls that nobody has heard of as a kernel that does not have them', () => {
      for (const { program } of filters) {
        for (const number of [450, 499, 1023, 0x7fffffff, 0xffffffff]) {
          assert.equal(run(program, { number, architecture }), NOT_THERE);
        }
      }
    });

    it('ends a process that calls by the table of another architecture, and has none of x32', () => {
      for (const { program } of filters) {
        for (const foreign of [I386, ...Object.values(ARCHITECTURES).filter((other) => other !== architecture)]) {
          assert.equal(run(program, { number: number(0, 63), architecture: foreign }), KILLED);
        }
        for (let call = 0; call < 600; call++) {
          assert.equal(run(program, { number: 0x40000000 + call, architecture }), NOT_THERE);
        }
      }
    });

    it('lets it read, write, wait, and take memory', () => {
      const calls = { read: [0, 63], write: [1, 64], openat: [257, 56], mmap: [9, 222], futex: [202, 98] } as const;
      for (const { program } of filters) {
        for (const [call, [x64, arm64]] of Object.entries(calls)) {
          assert.equal(run(program, { number: number(x64, arm64), architecture }), ALLOWED, call);
        }
      }
    });

    it('lets it start threads, and neither processes nor anything in namespaces of its own', () => {
      const clone = number(56, 220);
      // As the C library starts a thread, and as it forks.
      const thread = 0x3d0f00;
      const fork = 0x1200011;
      for (const { program } of filters) {
        assert.equal(run(program, { number: clone, architecture, parameters: [thread] }), ALLOWED);
        assert.equal(run(program, { number: clone, architecture, parameters: [fork] }), failed(1));
        for (const namespace of [0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000]) {
          const flags = thread | namespace;
          assert.equal(run(program, { number: clone, architecture, parameters: [flags] }), failed(1));
        }
      }
    });

    it('lets it ask terminals and the process for what is harmless, and nothing else', () => {
      const [ioctl, prctl] = [number(16, 29), number(157, 167)];
      const [FIONBIO, TIOCSTI, TIOCLINUX] = [0x5421, 0x5412, 0x541c];
      const [PR_SET_NAME, PR_SET_PDEATHSIG, PR_SET_SECCOMP] = [15, 1, 22];
      for (const { program } of filters) {
        assert.equal(run(program, { number: ioctl, architecture, parameters: [3, FIONBIO] }), ALLOWED);
        for (const request of [TIOCSTI, TIOCLINUX]) {
          assert.equal(run(program, { number: ioctl, architecture, parameters: [3, request] }), failed(25));
        }
        assert.equal(run(program, { number: prctl, architecture, parameters: [PR_SET_NAME] }), ALLOWED);
        for (const option of [PR_SET_PDEATHSIG, PR_SET_SECCOMP]) {
          assert.equal(run(program, { number: prctl, architecture, parameters: [option] }), failed(22));
        }
      }
    });

    it('has sockets only with the network, and of those TCP and UDP', () => {
      const [socket, connect] = [number(41, 198), number(42, 203)];
      const [AF_UNIX, AF_INET, AF_INET6, AF_NETLINK, AF_PACKET] = [1, 2, 10, 16, 17];
      const [STREAM, DGRAM, RAW, NONBLOCK_CLOEXEC] = [1, 2, 3, 0o2004000];
      for (const { network, program } of filters) {
        const ask = (...parameters: number[]): number => run(program, { number: socket, architecture, parameters });
        assert.equal(run(program, { number: connect, architecture }), network ? ALLOWED : NOT_THERE);
        for (const family of [AF_INET, AF_INET6]) {
          assert.equal(ask(family, STREAM | NONBLOCK_CLOEXEC, 0), network ? ALLOWED : NOT_THERE);
          assert.equal(ask(family, DGRAM, 17), network ? ALLOWED : NOT_THERE);
          assert.equal(ask(family, RAW, 1), network ? failed(93) : NOT_THERE);
          assert.equal(ask(family, STREAM, 132), network ? failed(93) : NOT_THERE);
        }
        for (const family of [AF_UNIX, AF_NETLINK, AF_PACKET]) {
          assert.equal(ask(family, DGRAM, 0), network ? failed(97) : NOT_THERE);
        }
      }
    });

    it('leaves whoever starts it everything but new io_urings', () => {
      const program = programWithoutIoUring();
      for (let call = 0; call < 600; call++) {
        assert.equal(run(program, { number: call, architecture }), call === 425 ? NOT_THERE : ALLOWED);
      }
    });
  });
}

describe('a filter of system calls', () => {
  const architecture = ARCHITECTURES.x64;

  it('looks at the low word of an argument, and at the bits of the mask', () => {
    const conditions = [{ argument: 5, mask: 0xf0, oneOf: [0x10, 0x20], otherwise: 7 }];
    const program = permittingProgram('x64', [{ number: 3, conditions }, { number: 4 }]);
    const ask = (sixth: bigint): number =>
      run(program, { number: 3, architecture, parameters: [0, 0, 0, 0, 0, sixth] });
    assert.equal(ask(0x10n), ALLOWED);
    assert.equal(ask(0xffffffff0000002fn), ALLOWED);
    assert.equal(ask(0x30n), failed(7));
    assert.equal(ask(0x1000000000n), failed(7));
    assert.equal(run(program, { number: 4, architecture }), ALLOWED);
  });
});
