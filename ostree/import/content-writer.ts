/** Writes the content of tar entries as objects: small files in one piece, large ones as they arrive. */
import type { FileHeader } from '../objects/file-header.ts';
import type { FileWriter } from '../repository/file-writer.ts';
import { expectChecksum, type ObjectSink } from './object-sink.ts';

/** Files up to this many bytes are collected before they are written; nearly all files of an OS are smaller. */
export const SMALL_FILE_BYTES = 128 * 1024;

/** Writes one regular file at a time: `begin`, `write` until the size is reached, `finish`. */
export class ContentWriter {
  readonly #sink: ObjectSink;
  readonly #buffer = Buffer.allocUnsafeSlow(SMALL_FILE_BYTES);
  #length = 0;
  #small: { readonly header: FileHeader; readonly size: number } | undefined;
  /** Set when the whole of a small file lay in one chunk: then it is written from there. */
  #whole: Buffer | undefined;
  #stream: FileWriter | undefined;
  #expected: string | undefined;

  constructor(sink: ObjectSink) {
    this.#sink = sink;
  }

  /** @param expected the checksum that the object must have, if it is known */
  begin(header: FileHeader, size: number, expected?: string): void {
    this.#length = 0;
    this.#whole = undefined;
    this.#expected = expected;
    if (size <= SMALL_FILE_BYTES) this.#small = { header, size };
    else this.#stream = this.#sink.beginFile(header, size);
  }

  write(bytes: Buffer): void {
    if (this.#stream !== undefined) {
      this.#stream.write(bytes);
    } else if (this.#length === 0 && bytes.length === this.#small?.size) {
      // A window on the reader's chunk, valid until the reader returns; finish() comes before that.
      this.#whole = bytes;
    } else {
      bytes.copy(this.#buffer, this.#length);
      this.#length += bytes.length;
    }
  }

  /** Returns the checksum of the object. Throws CorruptObject when it is not the expected one. */
  finish(): string {
    const checksum = this.#stream?.finish() ?? this.#finishSmall();
    this.#stream = undefined;
    expectChecksum('file', this.#expected, checksum);
    return checksum;
  }

  /** Drops a file that was begun and not finished. */
  abort(): void {
    this.#stream?.[Symbol.dispose]();
    this.#stream = undefined;
    this.#small = undefined;
  }

  #finishSmall(): string {
    if (this.#small === undefined) throw new Error('finish() without begin()');
    const { header } = this.#small;
    this.#small = undefined;
    return this.#sink.writeFile(header, this.#whole ?? this.#buffer.subarray(0, this.#length));
  }
}
