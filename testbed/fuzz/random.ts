/** Reproducible randomness for fuzzers, and the ways in which they damage what was valid. */

export class Random {
  #state: number;

  /** Equal seeds give equal sequences. */
  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** An integer from 0 up to, but not including, `limit` (at most 2^32). A Weyl sequence through a 32-bit mixer. */
  below(limit: number): number {
    this.#state = (this.#state + 0x9e3779b9) >>> 0;
    let mixed = this.#state;
    mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b);
    mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
    mixed ^= mixed >>> 16;
    return Math.floor(((mixed >>> 0) / 2 ** 32) * limit);
  }

  chance(oneIn: number): boolean {
    return this.below(oneIn) === 0;
  }

  pick<Value>(values: readonly Value[]): Value {
    const value = values[this.below(values.length)];
    if (value === undefined) throw new Error('nothing to pick from');
    return value;
  }

  bytes(length: number): Buffer {
    return Buffer.from(Array.from({ length }, () => this.below(256)));
  }

  /** Short text made of `pieces` and of characters that parsers treat specially. */
  text(pieces: readonly string[], maxPieces: number): string {
    return Array.from({ length: this.below(maxPieces + 1) }, () =>
      this.chance(4) ? this.pick(SPECIAL_TEXT) : this.pick(pieces),
    ).join('');
  }

  /** A copy with a few bytes changed, cut out, repeated or put in. */
  damaged(original: Buffer): Buffer {
    let bytes = Buffer.from(original);
    for (let count = 1 + this.below(4); count > 0; count--) {
      const at = this.below(bytes.length + 1);
      switch (this.below(6)) {
        case 0:
          if (at < bytes.length) bytes[at] = this.below(256);
          break;
        case 1:
          if (at < bytes.length) bytes[at] = (bytes[at] ?? 0) ^ (1 << this.below(8));
          break;
        case 2:
          if (at < bytes.length) bytes[at] = this.pick(SPECIAL_BYTES);
          break;
        case 3:
          bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(Math.min(bytes.length, at + this.below(40)))]);
          break;
        case 4:
          bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(this.below(at + 1), at), bytes.subarray(at)]);
          break;
        default:
          bytes = Buffer.concat([bytes.subarray(0, at), this.bytes(this.below(20)), bytes.subarray(at)]);
      }
      // Repeating must not make it grow without end.
      bytes = bytes.subarray(0, 2 * original.length + 64);
    }
    return bytes;
  }
}

const SPECIAL_BYTES = [0, 1, 0x0a, 0x20, 0x2e, 0x2f, 0x30, 0x37, 0x39, 0x3d, 0x7f, 0x80, 0xc3, 0xfe, 0xff];
const SPECIAL_TEXT = [
  '',
  '\0',
  '\n',
  '\\',
  '"',
  "'",
  '[',
  ']',
  '{',
  '}',
  '=',
  '#',
  ';',
  '%',
  '__proto__',
  'é',
  '日',
  '\ud800',
  '..',
  '//',
  ' ',
];
