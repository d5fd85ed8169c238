/**
 * PAX extended headers, read byte for byte.
 *
 * Extended attributes are binary: `security.capability` of a file with `cap_setuid` contains 0x80, which a reader that
 * decodes the record as UTF-8 turns into another capability set. So values stay buffers until their key says otherwise.
 *
 * Source: POSIX.1-2017 pax(1) "pax Extended Header"; `SCHILY.xattr.` from star(5).
 */
import { TarError } from './errors.ts';
import { applySparseRecord, type SparseRecords } from './sparse-map.ts';
import { utf8Text } from './tar-header.ts';

/** Records of one extended header that apply to the entry that follows it. */
export interface PaxRecords {
  path?: string;
  linkPath?: string;
  size?: number;
  uid?: number;
  gid?: number;
  mtime?: number;
  xattrs?: Map<string, Buffer>;
  /** Set when the entry is a sparse file. */
  sparse?: SparseRecords;
}

const XATTR_PREFIX = 'SCHILY.xattr.';
/** Longest length prefix of a record: more digits than the largest header we accept could need. */
const MAX_LENGTH_DIGITS = 8;

/**
 * Parses the body of a PAX header.
 *
 * @throws {TarError} `CorruptHeader` for a malformed record, `Sparse` for a sparse format that GNU tar never wrote.
 */
export function parsePaxRecords(body: Buffer): PaxRecords {
  const records: PaxRecords = {};
  let at = 0;
  while (at < body.length) {
    const space = body.indexOf(0x20, at);
    if (space < 0 || space === at || space - at > MAX_LENGTH_DIGITS) throw malformed();
    const end = at + decimal(body.toString('latin1', at, space));
    if (end > body.length || end <= space + 1 || body[end - 1] !== 0x0a) throw malformed();
    const equals = body.indexOf(0x3d, space + 1);
    if (equals < 0 || equals >= end) throw malformed();
    applyRecord(records, body.subarray(space + 1, equals), body.subarray(equals + 1, end - 1));
    at = end;
  }
  return records;
}

function applyRecord(records: PaxRecords, keyBytes: Buffer, value: Buffer): void {
  const key = keyBytes.toString('latin1');
  if (key.startsWith(XATTR_PREFIX)) {
    const name = utf8Text(keyBytes.subarray(XATTR_PREFIX.length));
    if (name === '' || name.includes('\0')) throw malformed();
    records.xattrs ??= new Map();
    // A copy: the body may be a window on a chunk that is reused.
    records.xattrs.set(name, Buffer.from(value));
    return;
  }
  if (key.startsWith('GNU.sparse.')) {
    const text = key === 'GNU.sparse.name' ? name(value) : '';
    applySparseRecord((records.sparse ??= {}), key, value, text);
    return;
  }
  switch (key) {
    case 'path':
      records.path = name(value);
      break;
    case 'linkpath':
      records.linkPath = name(value);
      break;
    case 'size':
      records.size = decimal(value.toString('latin1'));
      break;
    case 'uid':
      records.uid = decimal(value.toString('latin1'));
      break;
    case 'gid':
      records.gid = decimal(value.toString('latin1'));
      break;
    case 'mtime':
      records.mtime = seconds(value.toString('latin1'));
      break;
    default:
      // Other keys (atime, uname, comment, LIBARCHIVE.*) have no place in an OSTree object.
      break;
  }
}

function name(value: Buffer): string {
  if (value.includes(0)) throw malformed();
  return utf8Text(value);
}

function decimal(text: string): number {
  const number = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
  if (!Number.isSafeInteger(number)) throw malformed();
  return number;
}

function seconds(text: string): number {
  if (!/^-?\d{1,15}(\.\d*)?$/.test(text)) throw malformed();
  return Math.floor(Number(text));
}

function malformed(): TarError {
  return new TarError('CorruptHeader', 'tar archive has a malformed PAX header');
}
