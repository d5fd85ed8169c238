/**
 * Decoding of one 512-byte tar header block.
 *
 * The bytes come from a registry and are not trusted: the checksum is verified, numbers must be well formed, and a name
 * that is not UTF-8 is refused here, so that nothing behind this module ever sees a mangled path.
 *
 * Source: POSIX.1-2017 pax(1) "ustar Interchange Format", and the GNU tar manual, "Basic Tar Format".
 */
import { isUtf8 } from 'node:buffer';
import { TarError } from './errors.ts';

export const BLOCK_SIZE = 512;

export type TarEntryType = 'file' | 'hardlink' | 'symlink' | 'directory' | 'character-device' | 'block-device' | 'fifo';

/** One member of an archive, with PAX and GNU extensions applied. */
export interface TarEntry {
  readonly type: TarEntryType;
  /** As in the archive: may be absolute, contain `.` or `..`, or end in a slash. */
  readonly path: string;
  /** Target of a hardlink or symlink, as in the archive; empty for other types. */
  readonly linkPath: string;
  /** Permission bits only (`07777`). */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Bytes of content that the consumer gets, holes of sparse files included; 0 for everything but files. */
  readonly size: number;
  /** Whole seconds since the epoch; may be negative. */
  readonly mtime: number;
  /** Extended attributes byte for byte, in archive order; the last of equal names wins. */
  readonly xattrs: ReadonlyMap<string, Buffer>;
}

/** What the header block itself says, before extensions. */
export interface RawHeader {
  readonly typeFlag: string;
  readonly path: string;
  readonly linkPath: string;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly size: number;
  readonly mtime: number;
}

const CHECKSUM_OFFSET = 148;
const CHECKSUM_LENGTH = 8;
const SPACE = 0x20;
const USTAR_POSIX = 'ustar\0';

/** True when all 512 bytes at `offset` are zero: half of the end-of-archive marker. */
export function isZeroBlock(buffer: Buffer, offset: number): boolean {
  for (let at = offset; at < offset + BLOCK_SIZE; at++) {
    if (buffer[at] !== 0) return false;
  }
  return true;
}

/** Names of an entry that headers before it have given. */
export interface NamedBefore {
  readonly path: boolean;
  readonly linkPath: boolean;
}

/** Their own names are made up by whoever wrote them. */
const EXTENSION_FLAGS = 'LKxg';

/**
 * Decodes the header block at `offset`. Names in it that do not count are left empty: those of extension headers, and
 * those `named` before, which here are cut off after 100 bytes, in the middle of a character perhaps.
 *
 * @throws {TarError} `CorruptHeader` when checksum, a number or a name is not well formed.
 */
export function decodeHeader(block: Buffer, offset: number, named?: NamedBefore): RawHeader {
  verifyChecksum(block, offset);
  const typeFlag = String.fromCharCode(block[offset + 156] ?? 0);
  const isExtension = EXTENSION_FLAGS.includes(typeFlag);
  const noLink = block[offset + 157] === 0 || isExtension || named?.linkPath === true;
  return {
    typeFlag,
    path: isExtension || named?.path === true ? '' : decodePath(block, offset),
    linkPath: noLink ? '' : decodeText(block, offset + 157, 100),
    mode: decodeNumber(block, offset + 100, 8, 'mode') & 0o7777,
    uid: decodeNumber(block, offset + 108, 8, 'uid'),
    gid: decodeNumber(block, offset + 116, 8, 'gid'),
    size: decodeNumber(block, offset + 124, 12, 'size'),
    mtime: decodeNumber(block, offset + 136, 12, 'mtime'),
  };
}

function decodePath(block: Buffer, offset: number): string {
  const name = decodeText(block, offset, 100);
  const isUstar = block.toString('latin1', offset + 257, offset + 263) === USTAR_POSIX;
  const prefix = isUstar && block[offset + 345] !== 0 ? decodeText(block, offset + 345, 155) : '';
  return prefix === '' ? name : `${prefix}/${name}`;
}

function verifyChecksum(block: Buffer, offset: number): void {
  const stored = decodeNumber(block, offset + CHECKSUM_OFFSET, CHECKSUM_LENGTH, 'checksum');
  // The field itself counts as spaces.
  let sum = CHECKSUM_LENGTH * SPACE;
  const field = offset + CHECKSUM_OFFSET;
  for (let at = offset; at < field; at++) sum += block[at] ?? 0;
  const end = offset + BLOCK_SIZE;
  for (let at = field + CHECKSUM_LENGTH; at < end; at++) sum += block[at] ?? 0;
  if (stored === sum || stored === signedSum(block, offset)) return;
  throw new TarError('CorruptHeader', `tar header has checksum ${stored}, its bytes sum to ${sum}`);
}

/** Some historic archivers summed signed characters; GNU tar and libarchive accept both. */
function signedSum(block: Buffer, offset: number): number {
  const checksumEnd = CHECKSUM_OFFSET + CHECKSUM_LENGTH;
  let sum = 0;
  for (let at = 0; at < BLOCK_SIZE; at++) {
    sum += at >= CHECKSUM_OFFSET && at < checksumEnd ? SPACE : block.readInt8(offset + at);
  }
  return sum;
}

/** The number field of `length` bytes at `offset`: octal text, or base-256 when the top bit of the first byte is set (GNU tar manual, "Extensions"). */
export function decodeNumber(block: Buffer, offset: number, length: number, field: string): number {
  const first = block[offset] ?? 0;
  if ((first & 0x80) !== 0) return decodeBase256(block, offset, length, field);
  let at = offset;
  const end = offset + length;
  while (at < end && block[at] === SPACE) at++;
  let value = 0;
  for (; at < end; at++) {
    const byte = block[at] ?? 0;
    if (byte === 0 || byte === SPACE) break;
    if (byte < 0x30 || byte > 0x37) throw new TarError('CorruptHeader', `tar header has a ${field} that is not octal`);
    value = value * 8 + (byte - 0x30);
  }
  return value;
}

function decodeBase256(block: Buffer, offset: number, length: number, field: string): number {
  const negative = ((block[offset] ?? 0) & 0x40) !== 0;
  let value = negative ? ~0n : 0n;
  for (let at = 0; at < length; at++) {
    const byte = block[offset + at] ?? 0;
    value = (value << 8n) | BigInt(at === 0 && !negative ? byte & 0x7f : byte);
  }
  const number = Number(value);
  if (!Number.isSafeInteger(number)) throw new TarError('CorruptHeader', `tar header has a ${field} out of range`);
  return number;
}

function decodeText(block: Buffer, offset: number, length: number): string {
  let end = offset;
  const limit = offset + length;
  let ascii = true;
  while (end < limit) {
    const byte = block[end] ?? 0;
    if (byte === 0) break;
    if (byte >= 0x80) ascii = false;
    end++;
  }
  return ascii ? block.toString('latin1', offset, end) : utf8Text(block.subarray(offset, end));
}

/** @throws {TarError} `NotUtf8`: OSTree stores names as GVariant strings, which must be UTF-8. */
export function utf8Text(bytes: Buffer): string {
  if (!isUtf8(bytes)) {
    throw new TarError(
      'NotUtf8',
      `tar entry has a name that is not UTF-8: ${JSON.stringify(bytes.toString('latin1'))}`,
    );
  }
  return bytes.toString();
}
