/**
 * Content objects of an archive repository, `.filez`: a header with everything but the content, then the content as a raw
 * deflate stream. Source: libostree, repository of mode `archive`; RFC 1951.
 */
import { constants, deflateRawSync } from 'node:zlib';
import { encodeFileHeader, type FileHeader, frameHeader, isSymlink } from '../objects/file-header.ts';

/** libostree's default. */
const LEVEL = 6;
/** Compressed at once: memory stays the same however large the file. */
const PIECE_BYTES = 1024 * 1024;
/** As far as deflate can look back. */
const WINDOW_BYTES = 32 * 1024;

/** The file of a symbolic link: it has no content. */
export function archivedLink(header: FileHeader): Buffer {
  return frameHeader(encodeFileHeader(header, 0));
}

/** The file of a regular file whose content is at hand. */
export function archivedFile(header: FileHeader, content: Buffer): Buffer {
  const encoder = new ArchiveEncoder(header, content.length);
  return Buffer.concat([encoder.start(), ...encoder.push(content), ...encoder.finish()]);
}

/** Turns the content of a regular file into its `.filez`, piece by piece. */
export class ArchiveEncoder {
  readonly #header: FileHeader;
  readonly #size: number;
  #waiting: Buffer[] = [];
  #waitingBytes = 0;
  #before: Buffer = Buffer.alloc(0);

  /** @param size bytes of content */
  constructor(header: FileHeader, size: number) {
    if (isSymlink(header)) throw new Error('a symbolic link has no content to encode');
    this.#header = header;
    this.#size = size;
  }

  /** What stands before the content. */
  start(): Buffer {
    return frameHeader(encodeFileHeader(this.#header, this.#size));
  }

  /** Takes content, which is copied; returns what can be written by now. */
  push(content: Buffer): readonly Buffer[] {
    const ready: Buffer[] = [];
    for (let at = 0; at < content.length;) {
      // A whole piece waits until more follows it: then a file of one piece is compressed in one go, as libostree does.
      if (this.#waitingBytes === PIECE_BYTES) ready.push(this.#compress(constants.Z_SYNC_FLUSH));
      const part = content.subarray(at, at + PIECE_BYTES - this.#waitingBytes);
      this.#waiting.push(Buffer.from(part));
      this.#waitingBytes += part.length;
      at += part.length;
    }
    return ready;
  }

  /** What remains to be written. */
  finish(): readonly Buffer[] {
    return [this.#compress(constants.Z_FINISH)];
  }

  #compress(finishFlush: number): Buffer {
    const piece = Buffer.concat(this.#waiting);
    this.#waiting = [];
    this.#waitingBytes = 0;
    const dictionary = this.#before;
    this.#before = piece.subarray(-WINDOW_BYTES);
    return deflateRawSync(piece, { level: LEVEL, finishFlush, ...(dictionary.length > 0 && { dictionary }) });
  }
}
