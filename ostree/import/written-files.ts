/**
 * Which files of a layer are known to be on the disk before the layer is complete, thanks to the writing out that goes on
 * meanwhile: they can be given their places while the rest is written out. Only what is on its way is remembered, packed.
 */

const CHECKSUM_BYTES = 32;
/** Of one layer, some 8 MB. Those beyond are treated like the last ones, which nothing is known of. */
const MAX_FILES = 250_000;

export class WrittenFiles {
  #written: Uint8Array[] = [];
  readonly #durable: Uint8Array[] = [];
  #bytes = 0;

  /** Files that have been written and have their names. @param checksums 32 bytes each */
  add(checksums: Uint8Array): void {
    if (checksums.length === 0 || this.#bytes + checksums.length > MAX_FILES * CHECKSUM_BYTES) return;
    this.#bytes += checksums.length;
    this.#written.push(checksums);
  }

  /** To be called before everything is written out; what it returns, when that has succeeded. */
  beginSync(): () => void {
    const written = this.#written;
    this.#written = [];
    return () => this.#durable.push(...written);
  }

  /** Those that the disk has, in the order in which they were written. */
  get durable(): readonly Uint8Array[] {
    return this.#durable;
  }
}
