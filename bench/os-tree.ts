/**
 * A directory tree shaped like an operating system: many small text files, fewer and larger binaries, a kernel. The
 * same seed gives the same bytes, so that images can be cached and runs compared.
 */
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { binaryContent, SeededRandom, textContent } from './random-content.ts';

export interface TreeShape {
  readonly files: number;
  /** Bytes of all files together. */
  readonly size: number;
}

/** Parts of the whole, measured on Debian and Fedora CoreOS trees and rounded. */
const KERNEL_SHARE = 0.12;
const TEXT_FILES_SHARE = 0.65;
const TEXT_BYTES_SHARE = 0.25;
const FILES_PER_PACKAGE = 60;
/** Of the texts, by number: the others are documentation. */
export const SETTING_EVERY = 10;
/** Of the binaries, by number: the others are libraries. */
export const TOOL_EVERY = 5;
const LINK_EVERY = 25;

/** Writes the tree into `directory`, which must be empty. */
export function writeTree(directory: string, shape: TreeShape): void {
  const random = new SeededRandom(1);
  const kernelBytes = Math.floor(shape.size * KERNEL_SHARE);
  const textFiles = textFileCount(shape);
  const rest = shape.size - kernelBytes;
  const texts = sizes(random, textFiles, rest * TEXT_BYTES_SHARE, 1.5);
  const binaries = sizes(random, shape.files - textFiles, rest * (1 - TEXT_BYTES_SHARE), 2);
  for (const [index, size] of texts.entries()) {
    const path = index % SETTING_EVERY === 0 ? join('usr', settingPath(index)) : textPath(index);
    write(directory, path, textContent(random, size), 0o644);
  }
  for (const [index, size] of binaries.entries()) {
    const path = index % TOOL_EVERY === 0 ? `usr/bin/${packageOf(index)}-tool-${index}` : libraryPath(index);
    write(directory, path, binaryContent(random, size), 0o755);
    if (index % LINK_EVERY === 1) symlinkSync(`lib-${index}.so.1`, join(directory, libraryPath(index).slice(0, -2)));
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
    write(directory, join(folder, 'drivers', `module-${index}.ko`), binaryContent(random, size), 0o644);
  }
}

/** Bytes of the kernel in a tree of `shape`. */
export function kernelBytes(shape: TreeShape): number {
  return Math.floor(shape.size * KERNEL_SHARE);
}

/** How many of the files are texts; they are numbered from 0, and so are the binaries. */
export function textFileCount(shape: TreeShape): number {
  return Math.floor(shape.files * TEXT_FILES_SHARE);
}

/** Where a layer on top finds the text of that number, one of `SETTING_EVERY`: the tree has it below `usr`. */
export function settingPath(index: number): string {
  return `etc/${packageOf(index)}/setting-${index}.conf`;
}

export function textPath(index: number): string {
  return `usr/share/${packageOf(index)}/doc-${index % 7}/text-${index}`;
}

export function libraryPath(index: number): string {
  return `usr/lib/${packageOf(index)}/lib-${index}.so.1`;
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
