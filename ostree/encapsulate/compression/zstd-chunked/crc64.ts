/** CRC-64 of ISO 3309, by which readers of tar-split check contents. Source: Go, hash/crc64, polynomial `ISO`. */

/** In two halves, since bitwise operations have 32 bits. */
const POLYNOMIAL_HIGH = 0xd8000000;
/** Of each byte, and of each followed by up to seven zero bytes: eight bytes are taken at once (slicing-by-8). */
const LOW = new Uint32Array(8 * 256);
const HIGH = new Uint32Array(8 * 256);
for (let byte = 0; byte < 256; byte++) {
  let [high, low] = [0, byte];
  for (let bit = 0; bit < 8; bit++) {
    const odd = (low & 1) === 1;
    low = ((low >>> 1) | (high << 31)) >>> 0;
    high = (high >>> 1) ^ (odd ? POLYNOMIAL_HIGH : 0);
  }
  LOW[byte] = low;
  HIGH[byte] = high;
}
for (let index = 256; index < 8 * 256; index++) {
  const [low, high] = [LOW[index - 256] ?? 0, HIGH[index - 256] ?? 0];
  LOW[index] = ((low >>> 8) | (high << 24)) ^ (LOW[low & 0xff] ?? 0);
  HIGH[index] = (high >>> 8) ^ (HIGH[low & 0xff] ?? 0);
}

export class Crc64 {
  #low = 0xffffffff;
  #high = 0xffffffff;

  update(bytes: Uint8Array): void {
    let low = this.#low;
    let high = this.#high;
    let at = 0;
    for (; at + 8 <= bytes.length; at += 8) {
      const [first, second] = [low ^ fourAt(bytes, at), high ^ fourAt(bytes, at + 4)];
      low = eightSteps(LOW, first, second);
      high = eightSteps(HIGH, first, second);
    }
    for (; at < bytes.length; at++) {
      const index = (low ^ (bytes[at] ?? 0)) & 0xff;
      low = ((low >>> 8) | (high << 24)) ^ (LOW[index] ?? 0);
      high = (high >>> 8) ^ (HIGH[index] ?? 0);
    }
    this.#low = low;
    this.#high = high;
  }

  /** Eight bytes, the highest first. */
  digest(): Buffer {
    const bytes = Buffer.alloc(8);
    bytes.writeUInt32BE(~this.#high >>> 0, 0);
    bytes.writeUInt32BE(~this.#low >>> 0, 4);
    return bytes;
  }
}

function fourAt(bytes: Uint8Array, at: number): number {
  return (bytes[at] ?? 0) | ((bytes[at + 1] ?? 0) << 8) | ((bytes[at + 2] ?? 0) << 16) | ((bytes[at + 3] ?? 0) << 24);
}

/** What eight bytes make of one half. Which table is taken depends on how many bytes are still to come. */
function eightSteps(table: Uint32Array, first: number, second: number): number {
  return (
    (table[0x700 | (first & 0xff)] ?? 0) ^
    (table[0x600 | ((first >>> 8) & 0xff)] ?? 0) ^
    (table[0x500 | ((first >>> 16) & 0xff)] ?? 0) ^
    (table[0x400 | (first >>> 24)] ?? 0) ^
    (table[0x300 | (second & 0xff)] ?? 0) ^
    (table[0x200 | ((second >>> 8) & 0xff)] ?? 0) ^
    (table[0x100 | ((second >>> 16) & 0xff)] ?? 0) ^
    (table[second >>> 24] ?? 0)
  );
}
