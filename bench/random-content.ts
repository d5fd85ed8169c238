/** Bytes that look like what an operating system is made of, from a seed: the same seed gives the same bytes. */
import { createCipheriv } from 'node:crypto';

/** Half of a binary's pages look random, the other half repeat: about what gzip finds in ELF files. */
const PAGE_BYTES = 4096;
const NUMBER_BYTES = 6;
const READ_AHEAD_BYTES = 1 << 16;
const WORDS = 'the of and to in is configuration service option default value network file system user path'.split(' ');

/** Prose and numbers, as in configuration and documentation: gzip makes it a third. */
export function textContent(random: SeededRandom, size: number): Buffer {
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

/** What an executable looks like to gzip. */
export function binaryContent(random: SeededRandom, size: number): Buffer {
  const content = random.bytes(size);
  for (let at = PAGE_BYTES; at + PAGE_BYTES <= size; at += 2 * PAGE_BYTES) {
    content.copyWithin(at, 0, PAGE_BYTES / 8);
    content.fill(content.subarray(at, at + PAGE_BYTES / 8), at, at + PAGE_BYTES);
  }
  return content;
}

/** Numbers and bytes from a stream cipher: fast, and the same everywhere. */
export class SeededRandom {
  readonly #cipher;
  /** Of the stream, read ahead: asking the cipher for a few bytes at a time is slow. */
  #ahead = Buffer.alloc(0);

  constructor(seed: number) {
    const key = Buffer.alloc(16);
    key.writeDoubleLE(seed);
    this.#cipher = createCipheriv('aes-128-ctr', key, Buffer.alloc(16));
  }

  bytes(count: number): Buffer {
    const first = this.#ahead.subarray(0, count);
    this.#ahead = this.#ahead.subarray(first.length);
    const rest = this.#cipher.update(Buffer.alloc(count - first.length));
    return first.length === 0 ? rest : Buffer.concat([first, rest]);
  }

  /** From 0 up to, not including, 1. */
  next(): number {
    if (this.#ahead.length < NUMBER_BYTES) {
      this.#ahead = Buffer.concat([this.#ahead, this.#cipher.update(Buffer.alloc(READ_AHEAD_BYTES))]);
    }
    const value = this.#ahead.readUIntBE(0, NUMBER_BYTES) / 2 ** (8 * NUMBER_BYTES);
    this.#ahead = this.#ahead.subarray(NUMBER_BYTES);
    return value;
  }

  /** Standard normal, by Box and Muller. */
  normal(): number {
    return Math.sqrt(-2 * Math.log(1 - this.next())) * Math.cos(2 * Math.PI * this.next());
  }
}
