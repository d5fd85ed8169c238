/**
 * Starts a confined process that does not end by itself, and hands on what it says. With `without-seccomp` as its argument,
 * it does so as on a kernel that has no filters of system calls.
 */
import process from 'node:process';
import { startConfined } from '../../confinement/confined-process.ts';
import { setFilter } from '../../confinement/seccomp.ts';

const ENOSYS = 38;

/** A filter of its own: load the number; if it is seccomp's, there is no such call. */
function withoutSeccomp(): Buffer {
  const seccomp = process.arch === 'arm64' ? 277 : 317;
  const program = Buffer.alloc(32);
  for (const [index, [code, ifNot, operand]] of [
    [0x20, 0, 0],
    [0x15, 1, seccomp],
    [0x06, 0, 0x00050000 + ENOSYS],
    [0x06, 0, 0x7fff0000],
  ].entries()) {
    program.writeUInt16LE(code ?? 0, 8 * index);
    program.writeUInt8(ifNot ?? 0, 8 * index + 3);
    program.writeUInt32LE(operand ?? 0, 8 * index + 4);
  }
  return program;
}

if (process.argv[2] === 'without-seccomp') setFilter(withoutSeccomp(), 'thread');
const confined = startConfined(new URL('./confined-idler.ts', import.meta.url), { network: false });
confined.stdout.pipe(process.stdout);
confined.stderr.pipe(process.stderr);
confined.once('exit', (code) => (process.exitCode = code ?? 0));
