/**
 * Text that grows with the layer, kept compressed: a zstd frame that is written into the layer behind its content. Parts of it
 * may become known later than what follows them.
 */
import { once } from 'node:events';
import { constants, createZstdCompress } from 'node:zlib';
import { ZSTD_LEVEL } from '../pinned-zstd.ts';

/** Written at a time, so that small pieces do not cost a call each. */
const WRITE_BYTES = 256 * 1024;

export class EmbeddedText {
  readonly #compressor = createZstdCompress({ params: { [constants.ZSTD_c_compressionLevel]: ZSTD_LEVEL } });
  readonly #output: Buffer[] = [];
  readonly #waiting: (() => string | undefined)[] = [];
  #pending = '';
  #length = 0;

  constructor() {
    this.#compressor.on('data', (chunk: Buffer) => this.#output.push(chunk));
  }

  /** Adds what `text` gives, as soon as it gives something. */
  add(text: () => string | undefined): void {
    this.#waiting.push(text);
  }

  /** Takes up what is known by now, in order. */
  async write(): Promise<void> {
    let count = 0;
    for (const text of this.#waiting) {
      const known = text();
      if (known === undefined) break;
      count++;
      this.#pending += known;
      if (this.#pending.length >= WRITE_BYTES) await this.#compress();
    }
    this.#waiting.splice(0, count);
  }

  /** The frame, and how long the text is in it. */
  async finish(): Promise<{ readonly frame: Buffer; readonly uncompressedLength: number }> {
    await this.write();
    if (this.#waiting.length > 0) throw new Error('text that never became known');
    await this.#compress();
    const ended = once(this.#compressor, 'end');
    this.#compressor.end();
    await ended;
    return { frame: Buffer.concat(this.#output), uncompressedLength: this.#length };
  }

  /** Gives its memory back, finished or not. */
  destroy(): void {
    this.#compressor.destroy();
  }

  async #compress(): Promise<void> {
    const bytes = Buffer.from(this.#pending);
    this.#pending = '';
    this.#length += bytes.length;
    if (bytes.length > 0 && !this.#compressor.write(bytes)) await once(this.#compressor, 'drain');
  }
}
