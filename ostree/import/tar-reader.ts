/**
 * A streaming tar reader that is pushed buffers and calls its consumer synchronously.
 *
 * Importing is what Treeline exists for, and a tar stream is where a hostile registry talks to us, so the reader is our
 * own: no strings where there are bytes, no buffering of content, no entry whose size two readers could see differently.
 */
import { TarError } from './errors.ts';
import { type PaxRecords, parsePaxRecords } from './pax.ts';
import {
  BLOCK_SIZE,
  decodeHeader,
  isZeroBlock,
  type RawHeader,
  type TarEntry,
  type TarEntryType,
  utf8Text,
} from './tar-header.ts';

/** Called in order: `entry`, then `data` until `size` bytes came, then `entryEnd`. */
export interface TarConsumer {
  entry(entry: TarEntry): void;
  /** A window on the caller's buffer: valid only during the call. */
  data(bytes: Buffer): void;
  entryEnd(): void;
}

/** Larger extended headers are refused: the kernel allows 64 KiB of attributes for a file, a path 4 KiB. */
const MAX_PAX_BYTES = 1024 * 1024;
const MAX_LONG_NAME_BYTES = 64 * 1024;
const NO_XATTRS: ReadonlyMap<string, Buffer> = new Map();

type State = 'header' | 'data' | 'padding' | 'extension' | 'ended';

const ENTRY_TYPES: Readonly<Record<string, TarEntryType>> = {
  '\0': 'file',
  '0': 'file',
  '7': 'file',
  '1': 'hardlink',
  '2': 'symlink',
  '3': 'character-device',
  '4': 'block-device',
  '5': 'directory',
  '6': 'fifo',
};

/** Reads one archive. Errors are final: after a throw the reader must not be used again. */
export class TarReader {
  readonly #consumer: TarConsumer;
  readonly #partialBlock = Buffer.alloc(BLOCK_SIZE);
  #partialLength = 0;
  #state: State = 'header';
  /** Bytes of content still to come, and of the padding behind it. */
  #remaining = 0;
  #padding = 0;
  #zeroBlocks = 0;
  #extensionFlag = '';
  #extension: Buffer = Buffer.alloc(0);
  #extensionLength = 0;
  #pax: PaxRecords | undefined;
  #longName: string | undefined;
  #longLink: string | undefined;

  constructor(consumer: TarConsumer) {
    this.#consumer = consumer;
  }

  /** @throws {TarError} for anything malformed or refused; and whatever the consumer throws. */
  write(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length) {
      switch (this.#state) {
        case 'header':
          at = this.#readBlock(chunk, at);
          break;
        case 'data':
          at = this.#readData(chunk, at);
          break;
        case 'extension':
          at = this.#readExtension(chunk, at);
          break;
        case 'padding': {
          const skipped = Math.min(this.#padding, chunk.length - at);
          this.#padding -= skipped;
          at += skipped;
          if (this.#padding === 0) this.#state = 'header';
          break;
        }
        case 'ended':
          // What follows the marker is not part of the archive; it is read only so that the sender can finish.
          return;
      }
    }
  }

  /** Must be called when the stream is over. @throws {TarError} `Truncated` when an entry is incomplete. */
  end(): void {
    if (this.#state === 'ended') return;
    // A missing end marker is tolerated at an entry boundary, as every common reader does.
    const pending = this.#pax !== undefined || this.#longName !== undefined || this.#longLink !== undefined;
    if (this.#state !== 'header' || this.#partialLength > 0 || pending) {
      throw new TarError('Truncated', 'tar archive ends in the middle of an entry');
    }
  }

  #readBlock(chunk: Buffer, at: number): number {
    if (this.#partialLength === 0 && chunk.length - at >= BLOCK_SIZE) {
      this.#header(chunk, at);
      return at + BLOCK_SIZE;
    }
    const count = Math.min(BLOCK_SIZE - this.#partialLength, chunk.length - at);
    chunk.copy(this.#partialBlock, this.#partialLength, at, at + count);
    this.#partialLength += count;
    if (this.#partialLength === BLOCK_SIZE) {
      this.#partialLength = 0;
      this.#header(this.#partialBlock, 0);
    }
    return at + count;
  }

  #header(block: Buffer, offset: number): void {
    if (block[offset] === 0 && isZeroBlock(block, offset)) {
      this.#zeroBlocks++;
      if (this.#zeroBlocks === 2) this.#state = 'ended';
      return;
    }
    if (this.#zeroBlocks > 0) throw new TarError('CorruptHeader', 'tar archive has a lone zero block');
    const raw = decodeHeader(block, offset);
    switch (raw.typeFlag) {
      case 'x':
      case 'g':
        this.#startExtension(raw, MAX_PAX_BYTES);
        return;
      case 'L':
      case 'K':
        this.#startExtension(raw, MAX_LONG_NAME_BYTES);
        return;
      default:
        this.#startEntry(raw);
    }
  }

  #startExtension(raw: RawHeader, limit: number): void {
    if (raw.size < 0 || raw.size > limit) {
      throw new TarError('TooLarge', `tar extension header of ${raw.size} bytes; at most ${limit} are accepted`);
    }
    if (raw.size === 0) return;
    this.#extensionFlag = raw.typeFlag;
    this.#extension = Buffer.allocUnsafe(raw.size);
    this.#extensionLength = 0;
    this.#padding = paddingOf(raw.size);
    this.#state = 'extension';
  }

  #readExtension(chunk: Buffer, at: number): number {
    const count = Math.min(this.#extension.length - this.#extensionLength, chunk.length - at);
    chunk.copy(this.#extension, this.#extensionLength, at, at + count);
    this.#extensionLength += count;
    if (this.#extensionLength === this.#extension.length) {
      this.#finishExtension();
      this.#state = this.#padding > 0 ? 'padding' : 'header';
    }
    return at + count;
  }

  #finishExtension(): void {
    switch (this.#extensionFlag) {
      case 'x':
        // Two headers in a row: the records of both apply, the later ones win.
        this.#pax = { ...this.#pax, ...parsePaxRecords(this.#extension) };
        break;
      case 'L':
        this.#longName = nulTerminated(this.#extension);
        break;
      case 'K':
        this.#longLink = nulTerminated(this.#extension);
        break;
      default:
        // A global header would change entries far away from it; image layers have no use for one. Its form is
        // checked, its records are not applied, which is what libarchive does.
        parsePaxRecords(this.#extension);
    }
    this.#extension = Buffer.alloc(0);
  }

  #startEntry(raw: RawHeader): void {
    const pax = this.#pax;
    const path = pax?.path ?? this.#longName ?? raw.path;
    const entry: TarEntry = {
      type: entryType(raw.typeFlag, path),
      path,
      linkPath: pax?.linkPath ?? this.#longLink ?? raw.linkPath,
      mode: raw.mode,
      uid: identifier(pax?.uid ?? raw.uid, 'uid', path),
      gid: identifier(pax?.gid ?? raw.gid, 'gid', path),
      size: pax?.size ?? raw.size,
      mtime: pax?.mtime ?? raw.mtime,
      xattrs: pax?.xattrs ?? NO_XATTRS,
    };
    this.#pax = undefined;
    this.#longName = undefined;
    this.#longLink = undefined;
    checkEntry(entry);
    this.#consumer.entry(entry);
    this.#remaining = entry.size;
    this.#padding = paddingOf(entry.size);
    if (entry.size === 0) this.#consumer.entryEnd();
    else this.#state = 'data';
  }

  #readData(chunk: Buffer, at: number): number {
    const count = Math.min(this.#remaining, chunk.length - at);
    this.#consumer.data(chunk.subarray(at, at + count));
    this.#remaining -= count;
    if (this.#remaining === 0) {
      this.#consumer.entryEnd();
      this.#state = this.#padding > 0 ? 'padding' : 'header';
    }
    return at + count;
  }
}

function entryType(flag: string, path: string): TarEntryType {
  const type = ENTRY_TYPES[flag];
  if (type === undefined) {
    if (flag === 'S')
      throw new TarError('Sparse', `tar entry ${path} is a sparse file, which no image layer may contain`);
    throw new TarError('Unsupported', `tar entry ${path} has the unknown type ${JSON.stringify(flag)}`);
  }
  // Archives from before POSIX mark a directory by its trailing slash alone.
  return type === 'file' && path.endsWith('/') ? 'directory' : type;
}

function checkEntry(entry: TarEntry): void {
  if (entry.path === '') throw new TarError('CorruptHeader', 'tar entry has an empty name');
  if (entry.size < 0) throw new TarError('CorruptHeader', `tar entry ${entry.path} has a negative size`);
  // Readers disagree whether content follows such a header, and the disagreement can hide entries from one of them.
  if (entry.type !== 'file' && entry.size !== 0) {
    throw new TarError('Unsupported', `tar entry ${entry.path} is a ${entry.type} with ${entry.size} bytes of content`);
  }
  if ((entry.type === 'hardlink' || entry.type === 'symlink') && entry.linkPath === '') {
    throw new TarError('CorruptHeader', `tar entry ${entry.path} is a ${entry.type} without a target`);
  }
}

/** User and group IDs are stored in 32 bits. */
function identifier(value: number, field: string, path: string): number {
  if (value < 0 || value > 0xffff_ffff) throw new TarError('CorruptHeader', `tar entry ${path} has ${field} ${value}`);
  return value;
}

function paddingOf(size: number): number {
  return (BLOCK_SIZE - (size % BLOCK_SIZE)) % BLOCK_SIZE;
}

function nulTerminated(bytes: Buffer): string {
  const end = bytes.indexOf(0);
  return utf8Text(end < 0 ? bytes : bytes.subarray(0, end));
}
