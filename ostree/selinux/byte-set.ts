/** A set of byte values: what one position of a regular expression matches. */

// Nearly every position of an expression is one of these; thousands of expressions share them.
const singles: (ByteSet | undefined)[] = [];

export class ByteSet {
  readonly #members = new Uint8Array(256);

  /** The set of one byte; shared, and therefore not to be added to. */
  static single(byte: number): ByteSet {
    return (singles[byte] ??= ByteSet.of(byte));
  }

  static of(...bytes: readonly number[]): ByteSet {
    const set = new ByteSet();
    for (const byte of bytes) set.add(byte);
    return set;
  }

  /** From pairs of first and last members, written as characters: `ranges('az', '__')`. */
  static ranges(...pairs: readonly string[]): ByteSet {
    const set = new ByteSet();
    for (const pair of pairs) set.addRange(pair.charCodeAt(0), pair.charCodeAt(1));
    return set;
  }

  add(byte: number): void {
    this.#members[byte] = 1;
  }

  addRange(first: number, last: number): void {
    this.#members.fill(1, first, last + 1);
  }

  addAll(other: ByteSet): void {
    for (let byte = 0; byte < 256; byte++) if (other.has(byte)) this.add(byte);
  }

  has(byte: number): boolean {
    return this.#members[byte] === 1;
  }

  negated(): ByteSet {
    const set = new ByteSet();
    for (let byte = 0; byte < 256; byte++) if (!this.has(byte)) set.add(byte);
    return set;
  }

  get isFull(): boolean {
    return this.#members.every((member) => member === 1);
  }

  /** The only member, or undefined if there is not exactly one. */
  get single(): number | undefined {
    const first = this.#members.indexOf(1);
    return first >= 0 && this.#members.indexOf(1, first + 1) < 0 ? first : undefined;
  }
}
