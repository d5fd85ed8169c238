/**
 * The header of a content object, `(uuuusa(ayay))`, and the content checksum made from it: SHA-256 over the framed
 * header and, for regular files, the content. Numbers are big-endian, unlike GVariant's own.
 */
import { createHash, type Hash } from 'node:crypto';
import { OstreeError } from '../errors.ts';
import { chooseOffsetWidth, offsetWidth, readOffset, writeOffset } from '../gvariant/framing.ts';
import { decodeXattrs, encodeXattrs, type Xattr } from './xattrs.ts';

export const S_IFMT = 0o170000;
export const S_IFREG = 0o100000;
export const S_IFDIR = 0o040000;
export const S_IFLNK = 0o120000;

/** The one mode that a symbolic link may be recorded with; `ostree fsck` calls any other corrupt in a bare repository. */
export const SYMLINK_MODE = S_IFLNK | 0o777;

export interface FileHeader {
  readonly uid: number;
  readonly gid: number;
  /** With the file type: `0o100644`, `0o120777`. */
  readonly mode: number;
  /** Empty for a regular file. */
  readonly symlinkTarget: string;
  /** In canonical order, see `canonicalXattrs`. */
  readonly xattrs: readonly Xattr[];
}

/** Whether the header is that of a symbolic link. */
export function isSymlink(header: Pick<FileHeader, 'mode'>): boolean {
  return (header.mode & S_IFMT) === S_IFLNK;
}

/** Throws InvalidData unless the header describes a regular file or a symbolic link: OSTree stores nothing else. */
export function assertFileHeader(header: FileHeader): void {
  const type = header.mode & S_IFMT;
  if (header.mode > 0o177777 || (type !== S_IFREG && type !== S_IFLNK)) {
    throw new OstreeError('InvalidData', `a file cannot have mode 0${header.mode.toString(8)}`);
  }
  if (type === S_IFLNK && header.mode !== SYMLINK_MODE) {
    throw new OstreeError('InvalidData', `a symbolic link has mode 0${header.mode.toString(8)} instead of 0120777`);
  }
  if ((type === S_IFLNK) === (header.symlinkTarget === '') || header.symlinkTarget.includes('\0')) {
    throw new OstreeError('InvalidData', 'a symbolic link needs a target, and a regular file cannot have one');
  }
}

/** Serialises the header. With `size`, in the form of an archive repository, `(tuuuusa(ayay))`. */
export function encodeFileHeader(header: FileHeader, size?: number): Buffer {
  const target = Buffer.from(header.symlinkTarget);
  const xattrs = encodeXattrs(header.xattrs);
  const fixed = size === undefined ? 16 : 24;
  const bodySize = fixed + target.length + 1 + xattrs.length;
  const width = chooseOffsetWidth(bodySize, 1);
  const bytes = Buffer.alloc(bodySize + width);
  if (size !== undefined) bytes.writeBigUInt64BE(BigInt(size));
  bytes.writeUInt32BE(header.uid, fixed - 16);
  bytes.writeUInt32BE(header.gid, fixed - 12);
  bytes.writeUInt32BE(header.mode, fixed - 8);
  target.copy(bytes, fixed);
  xattrs.copy(bytes, fixed + target.length + 1);
  writeOffset(bytes, bodySize, width, fixed + target.length + 1);
  return bytes;
}

/** The inverse of `encodeFileHeader` for the form with a size. Throws InvalidData on anything but its normal form. */
export function decodeArchiveFileHeader(bytes: Buffer): { header: FileHeader; size: number } {
  const width = offsetWidth(bytes.length);
  const bodySize = bytes.length - width;
  const targetEnd = bodySize < 25 ? Infinity : readOffset(bytes, bodySize, width);
  if (targetEnd > bodySize || bytes.indexOf(0, 24) !== targetEnd - 1) throw malformed();
  const header = {
    uid: bytes.readUInt32BE(8),
    gid: bytes.readUInt32BE(12),
    mode: bytes.readUInt32BE(16),
    symlinkTarget: bytes.toString('utf8', 24, targetEnd - 1),
    xattrs: decodeXattrs(bytes.subarray(targetEnd, bodySize)),
  };
  const size = bytes.readBigUInt64BE();
  if (size > Number.MAX_SAFE_INTEGER || !encodeFileHeader(header, Number(size)).equals(bytes)) throw malformed();
  assertFileHeader(header);
  return { header, size: Number(size) };
}

/** `header` with the length in front, as it stands before the content in a checksum and in an archive repository. */
export function frameHeader(header: Buffer): Buffer {
  const framed = Buffer.alloc(8 + header.length);
  framed.writeUInt32BE(header.length);
  header.copy(framed, 8);
  return framed;
}

/** A hash into which the content has to go: then its hexadecimal digest is the checksum of the content object. */
export function contentHash(header: FileHeader): Hash {
  return createHash('sha256').update(frameHeader(encodeFileHeader(header)));
}

/** The checksum of a content object whose content is at hand. */
export function contentChecksum(header: FileHeader, content: Buffer): string {
  return contentHash(header).update(content).digest('hex');
}

function malformed(): OstreeError {
  return new OstreeError('InvalidData', 'the bytes are not a file header in normal form');
}
