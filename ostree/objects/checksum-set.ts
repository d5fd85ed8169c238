/**
 * Checksums, a million of them if need be, in 40 bytes each: as strings in a Set they would take 150. Each can have a
 * small number with it.
 */
import { randomBytes } from 'node:crypto';
import { assertChecksum } from './object-name.ts';

const CHECKSUM_BYTES = 32;
const CHECKSUM_WORDS = CHECKSUM_BYTES / 4;
/** Checksums that are made room for at a time: what is there is never copied. */
const PAGE_ENTRIES = 2048;
const FIRST_SLOTS = 1024;
/** What the characters below 128 mean as lower-case hexadecimal digits; 255 for those that are none. */
const DIGITS = Uint8Array.from({ length: 128 }, (_, code) => {
  const value = '0123456789abcdef'.indexOf(String.fromCharCode(code));
  return value < 0 ? 255 : value;
});

interface Page {
  readonly bytes: Buffer;
  readonly words: Int32Array;
  readonly notes: Uint16Array;
}

export class ChecksumSet {
  readonly #pages: Page[] = [];
  #size = 0;
  /** Open addressing: by hash, one more than the position of an entry, or 0. At most half of them are taken. */
  #slots = new Uint32Array(FIRST_SLOTS);
  /** Unknown to whoever made the objects, and odd: checksums that were sought to have equal digits are spread all the same. */
  readonly #multiplier = randomBytes(4).readInt32LE() | 1;
  /** The checksum that is being looked at. */
  readonly #bytes = Buffer.alloc(CHECKSUM_BYTES);
  readonly #words = new Int32Array(this.#bytes.buffer, this.#bytes.byteOffset, CHECKSUM_WORDS);

  get size(): number {
    return this.#size;
  }

  /** Returns false, and changes nothing, if it is there. @param note below 65536. Throws InvalidData for what is no checksum. */
  add(checksum: string, note = 0): boolean {
    assertChecksum(checksum);
    this.#bytes.write(checksum, 'hex');
    return this.#add(note);
  }

  /**
   * Adds the checksum that an object's file is named by, `prefix` being the name of its directory: two digits, then 62 at the
   * beginning of `name`. Returns false, and changes nothing, if it is there, or if these are no lower-case digits.
   */
  addNamed(prefix: string, name: string): boolean {
    return (
      parseDigits(prefix, this.#bytes, 0, 1) && parseDigits(name, this.#bytes, 1, CHECKSUM_BYTES - 1) && this.#add(0)
    );
  }

  has(checksum: string): boolean {
    return this.note(checksum) !== undefined;
  }

  /** Whether it holds the checksum of which the 32 bytes lie at `at`. */
  hasBytes(bytes: Uint8Array, at: number): boolean {
    for (let index = 0; index < CHECKSUM_BYTES; index++) this.#bytes[index] = bytes[at + index] ?? 0;
    return this.#slots[this.#slotOf(this.#words, 0)] !== 0;
  }

  /** What it was added with; undefined if it is not there. */
  note(checksum: string): number | undefined {
    if (this.#bytes.write(checksum, 'hex') !== CHECKSUM_BYTES) return undefined;
    const entry = this.#slots[this.#slotOf(this.#words, 0)] ?? 0;
    return entry === 0
      ? undefined
      : this.#pages[Math.floor((entry - 1) / PAGE_ENTRIES)]?.notes[(entry - 1) % PAGE_ENTRIES];
  }

  /** All of them, one after the other, 32 bytes each, in the order in which they were added. */
  toBytes(): Buffer {
    const all = Buffer.allocUnsafeSlow(this.#size * CHECKSUM_BYTES);
    this.#pages.forEach(({ bytes }, page) => bytes.copy(all, page * PAGE_ENTRIES * CHECKSUM_BYTES));
    return all;
  }

  /** Adds what is being looked at. */
  #add(note: number): boolean {
    const slot = this.#slotOf(this.#words, 0);
    if (this.#slots[slot] !== 0) return false;
    const { bytes, notes } = this.#pageOf(this.#size);
    const index = this.#size % PAGE_ENTRIES;
    this.#bytes.copy(bytes, index * CHECKSUM_BYTES);
    notes[index] = note;
    this.#slots[slot] = ++this.#size;
    if (this.#size > this.#slots.length / 2) this.#grow();
    return true;
  }

  /** Where the checksum at word `at` of `words` is, or would be put. */
  #slotOf(words: Int32Array, at: number): number {
    const mask = this.#slots.length - 1;
    const hash = Math.imul(words[at] ?? 0, this.#multiplier) >>> 0;
    // Of the product, the upper digits depend on all of the checksum's.
    let slot = Math.floor(hash / (2 ** 32 / this.#slots.length));
    for (;;) {
      const entry = this.#slots[slot] ?? 0;
      if (entry === 0 || this.#isEqual(entry - 1, words, at)) return slot;
      slot = (slot + 1) & mask;
    }
  }

  #isEqual(position: number, words: Int32Array, at: number): boolean {
    const page = this.#pages[Math.floor(position / PAGE_ENTRIES)];
    const start = (position % PAGE_ENTRIES) * CHECKSUM_WORDS;
    for (let word = 0; word < CHECKSUM_WORDS; word++) if (page?.words[start + word] !== words[at + word]) return false;
    return true;
  }

  #pageOf(position: number): Page {
    const index = Math.floor(position / PAGE_ENTRIES);
    const existing = this.#pages[index];
    if (existing !== undefined) return existing;
    const bytes = Buffer.allocUnsafeSlow(PAGE_ENTRIES * CHECKSUM_BYTES);
    const words = new Int32Array(bytes.buffer, bytes.byteOffset, PAGE_ENTRIES * CHECKSUM_WORDS);
    const page = { bytes, words, notes: new Uint16Array(PAGE_ENTRIES) };
    this.#pages.push(page);
    return page;
  }

  #grow(): void {
    this.#slots = new Uint32Array(this.#slots.length * 2);
    for (let position = 0; position < this.#size; position++) {
      const page = this.#pages[Math.floor(position / PAGE_ENTRIES)];
      if (page === undefined) break;
      const slot = this.#slotOf(page.words, (position % PAGE_ENTRIES) * CHECKSUM_WORDS);
      this.#slots[slot] = position + 1;
    }
  }
}

/** Writes `count` bytes to `target` from the digits at the beginning of `text`; false if they are not there. */
function parseDigits(text: string, target: Uint8Array, at: number, count: number): boolean {
  for (let index = 0; index < count; index++) {
    const upper = DIGITS[text.charCodeAt(2 * index)] ?? 255;
    const lower = DIGITS[text.charCodeAt(2 * index + 1)] ?? 255;
    if (upper === 255 || lower === 255) return false;
    target[at + index] = 16 * upper + lower;
  }
  return true;
}
