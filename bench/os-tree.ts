/**
 * A directory tree shaped like an operating system: many small text files, fewer and larger binaries, a kernel. The
 * same seed gives the same bytes, so that images can be cached and runs compared.
 */
import { createCipheriv } from 'node:crypto';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

export interface TreeShape {
  readonly files: number;
  /** Bytes of all files together. */
  readonly size: number;
}

/** Parts of the whole, measured on Debian and Fedora CoreOS trees and rounded. */
const KERNEL_SHARE = 0.12;
const TEXT_FILES_SHARE = 0.65;
const TEXT_BYTES_SHARE = 0.25;
/** Half of a binary's pages look random, the other half repeat: about what gzip finds in ELF files. */
const PAGE_BYTES = 4096;
const FILES_PER_PACKAGE = 60;
const LINK_EVERY = 25;

/** Writes the tree into `directory`, which must be empty. */
export function writeTree(directory: string, shape: TreeShape): void {
  const random = new SeededRandom(1);
  const kernelBytes = Math.floor(shape.size * KERNEL_SHARE);
  const textFiles = Math.floor(shape.files * TEXT_FILES_SHARE);
  const rest = shape.size - kernelBytes;
  const texts = sizes(random, textFiles, rest * TEXT_BYTES_SHARE, 1.5);
  const binaries = sizes(random, shape.files - textFiles, rest * (1 - TEXT_BYTES_SHARE), 2);
  for (const [index, size] of texts.entries()) {
    const name = packageOf(index);
    const path =
      index % 10 === 0 ? `usr/etc/${name}/setting-${index}.conf` : `usr/share/${name}/doc-${index % 7}/text-${index}`;
    write(directory, path, text(random, size), 0o644);
  }
  for (const [index, size] of binaries.entries()) {
    const name = packageOf(index);
    const path = index % 5 === 0 ? `usr/bin/${name}-tool-${index}` : `usr/lib/${name}/lib-${index}.so.1`;
    write(directory, path, binary(random, size), 0o755);
    if (index % LINK_EVERY === 1) symlinkSync(`lib-${index}.so.1`, join(directory, `usr/lib/${name}/lib-${index}.so`));
  }
  for (const name of ['boot', 'dev', 'home', 'opt', 'proc', 'run', 'sys', 'sysroot', 'tmp', 'var']) {
    mkdirSync(join(directory, name), { recursive: true });
  }
  writeKernel(directory, kernelBytes, '6.1.0-1');
}

/** Writes (again) what a kernel package brings. Another `version` gives other bytes in the same place. */
export function writeKernel(directory: string, bytes: number, version: string): void {
  const random = new SeededRandom(Buffer.from(version).reduce((sum, byte) => sum * 31 + byte, 7));
  const folder = join('usr/lib/modules', 'kernel');
  write(directory, join(folder, 'vmlinuz'), random.bytes(Math.floor(bytes * 0.12)), 0o644);
  write(directory, join(folder, 'initramfs.img'), random.bytes(Math.floor(bytes * 0.6)), 0o644);
  const modules = 40;
  for (let index = 0; index < modules; index++) {
    const size = Math.floor((bytes * 0.28) / modules);
    write(directory, join(folder, 'drivers', `module-${index}.ko`), binary(random, size), 0o644);
  }
}

/** Bytes of the kernel in a tree of `shape`. */
export function kernelBytes(shape: TreeShape): number {
  return Math.floor(shape.size * KERNEL_SHARE);
}

function packageOf(index: number): string {
  return `package-${Math.floor(index / FILES_PER_PACKAGE)}`;
}

function write(directory: string, path: string, content: Buffer, mode: number): void {
  const full = join(directory, path);
  mkdirSync(dirname(full), { recursive: true });
  writeFileSync(full, content, { mode });
}

/** Log-normal sizes whose sum is `total`: a few files hold most of the bytes, as in any file system. */
function sizes(random: SeededRandom, count: number, total: number, sigma: number): readonly number[] {
  const weights = Array.from({ length: count }, () => Math.exp(sigma * random.normal()));
  const sum = weights.reduce((a, b) => a + b, 0);
  return weights.map((weight) => Math.floor((weight / sum) * total));
}

const WORDS = 'the of and to in is configuration service option default value network file system user path'.split(' ');

function text(random: SeededRandom, size: number): Buffer {
  let line = '';
  const lines: string[] = [];
  for (let length = 0; length < size; length += line.length) {
    line = `${random.next().toString(36).slice(2, 8)} `;
    while (line.length < 72) line += `${WORDS[Math.floor(random.next() * WORDS.length)] ?? ''} `;
    line += '\n';
    lines.push(line);
  }
  return Buffer.from(lines.join('')).subarray(0, size);
}

function binary(random: SeededRandom, size: number): Buffer {
  const content = random.bytes(size);
  for (let at = PAGE_BYTES; at + PAGE_BYTES <= size; at += 2 * PAGE_BYTES) {
    content.copyWithin(at, 0, PAGE_BYTES / 8);
    content.fill(content.subarray(at, at + PAGE_BYTES / 8), at, at + PAGE_BYTES);
  }
  return content;
}

/** Numbers and bytes from a stream cipher: fast, and the same everywhere. */
class SeededRandom {
  readonly #cipher;

  constructor(seed: number) {
    const key = Buffer.alloc(16);
    key.writeDoubleLE(seed);
    this.#cipher = createCipheriv('aes-128-ctr', key, Buffer.alloc(16));
  }

  bytes(count: number): Buffer {
    return this.#cipher.update(Buffer.alloc(count));
  }

  /** From 0 up to, not including, 1. */
  next(): number {
    return this.bytes(6).readUIntBE(0, 6) / 2 ** 48;
  }

  /** Standard normal, by Box and Muller. */
  normal(): number {
    return Math.sqrt(-2 * Math.log(1 - this.next())) * Math.cos(2 * Math.PI * this.next());
  }
}
