/** Directory metadata, `(uuua(ayay))` with big-endian numbers. Also the form of `user.ostreemeta` in bare-user repositories. */
import { OstreeError } from '../errors.ts';
import { S_IFDIR, S_IFMT } from './file-header.ts';
import { decodeXattrs, encodeXattrs, type Xattr } from './xattrs.ts';

export interface DirectoryMetadata {
  readonly uid: number;
  readonly gid: number;
  /** With the file type: `0o040755`. */
  readonly mode: number;
  readonly xattrs: readonly Xattr[];
}

/** Serialises owner, mode and attributes. The only variable member is the last one, so there are no framing offsets. */
export function encodeDirectoryMetadata(metadata: DirectoryMetadata): Buffer {
  const numbers = Buffer.alloc(12);
  numbers.writeUInt32BE(metadata.uid);
  numbers.writeUInt32BE(metadata.gid, 4);
  numbers.writeUInt32BE(metadata.mode, 8);
  return Buffer.concat([numbers, encodeXattrs(metadata.xattrs)]);
}

/** Parses `(uuua(ayay))` of any file type. Throws InvalidData on anything but its normal form. */
export function decodeStat(bytes: Buffer): DirectoryMetadata {
  if (bytes.length < 12) throw new OstreeError('InvalidData', 'file metadata is cut short');
  return {
    uid: bytes.readUInt32BE(),
    gid: bytes.readUInt32BE(4),
    mode: bytes.readUInt32BE(8),
    xattrs: decodeXattrs(bytes.subarray(12)),
  };
}

/** Parses a dirmeta object. Throws InvalidData on anything but its normal form, or if it is not about a directory. */
export function decodeDirectoryMetadata(bytes: Buffer): DirectoryMetadata {
  const metadata = decodeStat(bytes);
  if ((metadata.mode & S_IFMT) !== S_IFDIR || metadata.mode > 0o177777) {
    throw new OstreeError('InvalidData', `a directory cannot have mode 0${metadata.mode.toString(8)}`);
  }
  return metadata;
}
