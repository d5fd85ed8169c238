/**
 * A streaming tar reader that is pushed buffers and calls its consumer synchronously.
 *
 * Importing is what Treeline exists for, and a tar stream is where a hostile registry talks to us, so the reader is our
 * own: no strings where there are bytes, no buffering of content, no entry whose size two readers could see differently.
 */
import { TarError } from './errors.ts';
import { type PaxRecords, parsePaxRecords } from './pax.ts';
import { SparseExpander } from './sparse-expander.ts';
import { readOldMap, type SparseLayout, type SparseSegment, sparseLayoutOf } from './sparse-map.ts';
import {
  BLOCK_SIZE,
  decodeHeader,
  type NamedBefore,
  decodeNumber,
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
/** Holes of all sparse files of an archive: zeros that are hashed and written although nobody sent them. */
export const MAX_HOLE_BYTES = 8 * 1024 ** 3;
/** Of GNU tar's old sparse header: its map of 4 entries, the mark that blocks with 21 more follow, the file's size. */
const OLD_SPARSE = { map: 386, entries: 4, extended: 482, realSize: 483 } as const;
const OLD_SPARSE_EXTENSION = { entries: 21, extended: 504 } as const;
const NO_XATTRS: ReadonlyMap<string, Buffer> = new Map();

type State = 'header' | 'sparse-map' | 'data' | 'padding' | 'extension' | 'ended';

const ENTRY_TYPES: Readonly<Record<string, TarEntryType>> = {
  '\0': 'file',
  '0': 'file',
  '7': 'file',
  S: 'file',
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
  /** Kinds of the extension headers of the entry to come. */
  #seenExtensions = '';
  #extension: Buffer = Buffer.alloc(0);
  #extensionLength = 0;
  #pax: PaxRecords | undefined;
  #longName: string | undefined;
  #longLink: string | undefined;
  /** An old GNU sparse file whose map goes on in the next block. */
  #oldSparse: { readonly raw: RawHeader; readonly realSize: number; readonly segments: SparseSegment[] } | undefined;
  #expander: SparseExpander | undefined;
  #holeBytes = 0;

  constructor(consumer: TarConsumer) {
    this.#consumer = consumer;
  }

  /** @throws {TarError} for anything malformed or refused; and whatever the consumer throws. */
  write(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length) {
      switch (this.#state) {
        case 'header':
        case 'sparse-map':
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
    if (this.#state !== 'header' || this.#partialLength > 0 || this.#seenExtensions !== '') {
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
    if (this.#state === 'sparse-map') {
      this.#continueOldMap(block, offset);
      return;
    }
    if (block[offset] === 0 && isZeroBlock(block, offset)) {
      this.#zeroBlocks++;
      if (this.#zeroBlocks === 2) this.#state = 'ended';
      return;
    }
    if (this.#zeroBlocks > 0) throw new TarError('CorruptHeader', 'tar archive has a lone zero block');
    const raw = decodeHeader(block, offset, this.#named());
    switch (raw.typeFlag) {
      case 'x':
      case 'g':
        this.#startExtension(raw, MAX_PAX_BYTES);
        return;
      case 'L':
      case 'K':
        this.#startExtension(raw, MAX_LONG_NAME_BYTES);
        return;
      case 'S':
        this.#startOldSparse(raw, block, offset);
        return;
      default:
        this.#startEntry(raw);
    }
  }

  #startOldSparse(raw: RawHeader, block: Buffer, offset: number): void {
    const segments: SparseSegment[] = [];
    const realSize = decodeNumber(block, offset + OLD_SPARSE.realSize, 12, 'sparse size');
    readOldMap(block, offset + OLD_SPARSE.map, OLD_SPARSE.entries, segments, decodeMapNumber);
    if (block[offset + OLD_SPARSE.extended] === 0) {
      this.#startEntry(raw, { kind: 'known', realSize, segments });
    } else {
      this.#oldSparse = { raw, realSize, segments };
      this.#state = 'sparse-map';
    }
  }

  #continueOldMap(block: Buffer, offset: number): void {
    const sparse = this.#oldSparse;
    if (sparse === undefined) throw new Error('a sparse map without its header');
    const { raw, realSize, segments } = sparse;
    const full = readOldMap(block, offset, OLD_SPARSE_EXTENSION.entries, segments, decodeMapNumber);
    if (block[offset + OLD_SPARSE_EXTENSION.extended] !== 0) {
      if (!full) throw new TarError('CorruptHeader', `tar entry ${raw.path} has a sparse map with gaps`);
      return;
    }
    this.#oldSparse = undefined;
    this.#state = 'header';
    this.#startEntry(raw, { kind: 'known', realSize, segments });
  }

  #startExtension(raw: RawHeader, limit: number): void {
    if (raw.size < 0 || raw.size > limit) {
      throw new TarError('TooLarge', `tar extension header of ${raw.size} bytes; at most ${limit} are accepted`);
    }
    this.#refuseSecond(raw.typeFlag);
    if (raw.size === 0) return;
    this.#extensionFlag = raw.typeFlag;
    this.#extension = Buffer.allocUnsafe(raw.size);
    this.#extensionLength = 0;
    this.#padding = paddingOf(raw.size);
    this.#state = 'extension';
  }

  /** Some readers join two headers of a kind, some take the last one. No writer gives an entry two. */
  #refuseSecond(flag: string): void {
    if (flag === 'g') return;
    if (this.#seenExtensions.includes(flag)) {
      throw new TarError('Unsupported', `tar entry has two extension headers of the kind ${flag}`);
    }
    this.#seenExtensions += flag;
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
        this.#pax = parsePaxRecords(this.#extension);
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

  /** Nothing, for nearly all entries. */
  #named(): NamedBefore | undefined {
    const pax = this.#pax;
    if (this.#longName === undefined && this.#longLink === undefined && pax === undefined) return undefined;
    return {
      path: (this.#longName ?? pax?.sparse?.name ?? pax?.path) !== undefined,
      linkPath: (this.#longLink ?? pax?.linkPath) !== undefined,
    };
  }

  #startEntry(raw: RawHeader, oldSparse?: SparseLayout): void {
    const pax = this.#pax;
    const path = onlyName(this.#longName, pax?.sparse?.name ?? pax?.path) ?? raw.path;
    const sparse = pax?.sparse === undefined ? oldSparse : sparseLayoutOf(pax.sparse);
    const storedSize = pax?.size ?? raw.size;
    const entry: TarEntry = {
      type: entryType(raw.typeFlag, path),
      path,
      linkPath: onlyName(this.#longLink, pax?.linkPath) ?? raw.linkPath,
      mode: raw.mode,
      uid: identifier(pax?.uid ?? raw.uid, 'uid', path),
      gid: identifier(pax?.gid ?? raw.gid, 'gid', path),
      size: sparse?.realSize ?? storedSize,
      mtime: pax?.mtime ?? raw.mtime,
      xattrs: pax?.xattrs ?? NO_XATTRS,
    };
    this.#pax = undefined;
    this.#longName = undefined;
    this.#longLink = undefined;
    this.#seenExtensions = '';
    checkEntry(entry, storedSize);
    if (sparse !== undefined) this.#startSparse(entry, sparse, storedSize);
    this.#consumer.entry(entry);
    this.#remaining = storedSize;
    this.#padding = paddingOf(storedSize);
    if (storedSize === 0) this.#finishEntry();
    else this.#state = 'data';
  }

  #startSparse(entry: TarEntry, layout: SparseLayout, storedSize: number): void {
    if (entry.type !== 'file') throw new TarError('Sparse', `tar entry ${entry.path} is a sparse ${entry.type}`);
    this.#holeBytes += Math.max(0, entry.size - storedSize);
    if (this.#holeBytes > MAX_HOLE_BYTES) {
      throw new TarError(
        'TooLarge',
        `tar entry ${entry.path} is a sparse file of ${entry.size} bytes; at most ${MAX_HOLE_BYTES} bytes of holes are ` +
          'accepted in a layer',
      );
    }
    this.#expander = new SparseExpander(layout, storedSize, (bytes) => this.#consumer.data(bytes));
  }

  #finishEntry(): void {
    this.#expander?.finish();
    this.#expander = undefined;
    this.#consumer.entryEnd();
  }

  #readData(chunk: Buffer, at: number): number {
    const count = Math.min(this.#remaining, chunk.length - at);
    const bytes = chunk.subarray(at, at + count);
    if (this.#expander === undefined) this.#consumer.data(bytes);
    else this.#expander.write(bytes);
    this.#remaining -= count;
    if (this.#remaining === 0) {
      this.#finishEntry();
      this.#state = this.#padding > 0 ? 'padding' : 'header';
    }
    return at + count;
  }
}

function entryType(flag: string, path: string): TarEntryType {
  const type = ENTRY_TYPES[flag];
  if (type === undefined) {
    throw new TarError('Unsupported', `tar entry ${path} has the unknown type ${JSON.stringify(flag)}`);
  }
  // Archives from before POSIX mark a directory by its trailing slash alone.
  return type === 'file' && path.endsWith('/') ? 'directory' : type;
}

/** Readers disagree which of the two wins, and no writer gives both. */
function onlyName(gnu: string | undefined, pax: string | undefined): string | undefined {
  if (gnu === undefined || pax === undefined || gnu === pax) return gnu ?? pax;
  throw new TarError(
    'Unsupported',
    `tar entry has two long names, ${JSON.stringify(gnu.slice(0, 80))} and ${JSON.stringify(pax.slice(0, 80))}`,
  );
}

function decodeMapNumber(block: Buffer, offset: number, length: number): number {
  return decodeNumber(block, offset, length, 'sparse map');
}

function checkEntry(entry: TarEntry, storedSize: number): void {
  if (entry.path === '') throw new TarError('CorruptHeader', 'tar entry has an empty name');
  if (entry.size < 0 || storedSize < 0)
    throw new TarError('CorruptHeader', `tar entry ${entry.path} has a negative size`);
  // Readers disagree whether content follows such a header, and the disagreement can hide entries from one of them.
  if (entry.type !== 'file' && storedSize !== 0) {
    throw new TarError('Unsupported', `tar entry ${entry.path} is a ${entry.type} with ${storedSize} bytes of content`);
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
  // Some readers go on behind the end.
  if (end < 0) throw new TarError('Unsupported', 'tar entry has a long name without its NUL');
  return utf8Text(bytes.subarray(0, end));
}
