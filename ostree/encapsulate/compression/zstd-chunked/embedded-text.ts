/** Text that grows with the layer, kept compressed: a zstd frame that is written into the layer behind its content. */
import { once } from 'node:events';
import { constants, createZstdCompress } from 'node:zlib';
import { ZSTD_LEVEL } from '../pinned-zstd.ts';

/** Written at a time, so that small pieces do not cost a call each. */
const WRITE_BYTES = 256 * 1024;

export class EmbeddedText {
  readonly #compressor = createZstdCompress({ params: { [constants.ZSTD_c_compressionLevel]: ZSTD_LEVEL } });
  readonly #output: Buffer[] = [];
  #pending = '';
  #length = 0;

  constructor() {
    this.#compressor.on('data', (chunk: Buffer) => this.#output.push(chunk));
  }

  async add(text: string): Promise<void> {
    this.#pending += text;
    if (this.#pending.length >= WRITE_BYTES) await this.#write();
  }

  /** The frame, and how long the text is in it. */
  async finish(): Promise<{ readonly frame: Buffer; readonly uncompressedLength: number }> {
    await this.#write();
    const ended = once(this.#compressor, 'end');
    this.#compressor.end();
    await ended;
    return { frame: Buffer.concat(this.#output), uncompressedLength: this.#length };
  }

  /** Gives its memory back, finished or not. */
  destroy(): void {
    this.#compressor.destroy();
  }

  async #write(): Promise<void> {
    const bytes = Buffer.from(this.#pending);
    this.#pending = '';
    this.#length += bytes.length;
    if (bytes.length > 0 && !this.#compressor.write(bytes)) await once(this.#compressor, 'drain');
  }
}
