/**
 * Tar headers for encapsulated images: GNU format with long names as `L`/`K` entries, times always zero, names of
 * owners always empty. The same entry is always the same bytes, because a layer's digest depends on them.
 *
 * Source: ostree-container format, tar stream; GNU tar manual, "Basic Tar Format".
 */
import type { Xattr } from '../objects/xattrs.ts';

export const BLOCK_BYTES = 512;

type EntryType = 'file' | 'hardlink' | 'symlink' | 'directory';

export interface TarEntry {
  readonly type: EntryType;
  readonly path: string;
  /** Permission bits only. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Bytes of content that follow the header; zero unless it is a file. */
  readonly size?: number;
  /** Of a symbolic or hard link. */
  readonly target?: string;
}

const TYPE_FLAGS = { file: '0', hardlink: '1', symlink: '2', directory: '5' } as const;
const NAME_BYTES = 100;
const GNU_MAGIC = Buffer.from('ustar  \0', 'latin1');
const POSIX_MAGIC = Buffer.from('ustar\x0000', 'latin1');
const LONG_LINK = '././@LongLink';
const ZEROS = Buffer.alloc(BLOCK_BYTES);
const [DIGIT_ZERO, SPACE] = [0x30, 0x20];

/** The header of an entry with all that has to stand before it. */
export function encodeTarEntry(entry: TarEntry): Buffer {
  const name = Buffer.from(entry.path);
  const target = Buffer.from(entry.target ?? '');
  const before: Buffer[] = [];
  if (name.length > NAME_BYTES) before.push(longName('L', name));
  if (target.length > NAME_BYTES) before.push(longName('K', target));
  const block = header({
    name,
    target,
    flag: TYPE_FLAGS[entry.type],
    magic: GNU_MAGIC,
    ownership: entry,
    size: entry.size ?? 0,
  });
  return before.length === 0 ? block : Buffer.concat([...before, block]);
}

/** A PAX header by which the next entry gets extended attributes; empty if there are none. */
export function encodePaxXattrs(xattrs: readonly Xattr[]): Buffer {
  if (xattrs.length === 0) return Buffer.alloc(0);
  const records = Buffer.concat(xattrs.map(({ name, value }) => paxRecord(`SCHILY.xattr.${name}`, value)));
  const flags = { name: Buffer.alloc(0), target: Buffer.alloc(0), flag: 'x', magic: POSIX_MAGIC };
  return Buffer.concat([header({ ...flags, size: records.length }), records, tarPadding(records.length)]);
}

/** The zero bytes that fill up the last block of `size` bytes of content. */
export function tarPadding(size: number): Buffer {
  return ZEROS.subarray(0, (BLOCK_BYTES - (size % BLOCK_BYTES)) % BLOCK_BYTES);
}

/** Two zero blocks. */
export const TAR_END = Buffer.alloc(2 * BLOCK_BYTES);

function paxRecord(key: string, value: Buffer): Buffer {
  const rest = Buffer.concat([Buffer.from(` ${key}=`), value, Buffer.from('\n')]);
  // The length counts its own digits.
  let length = rest.length;
  while (String(length).length + rest.length !== length) length = String(length).length + rest.length;
  return Buffer.concat([Buffer.from(String(length)), rest]);
}

function longName(flag: 'L' | 'K', name: Buffer): Buffer {
  const size = name.length + 1;
  const start = header({
    name: Buffer.from(LONG_LINK),
    target: Buffer.alloc(0),
    flag,
    magic: GNU_MAGIC,
    ownership: { mode: 0o644, uid: 0, gid: 0 },
    size,
  });
  return Buffer.concat([start, name, Buffer.alloc(1), tarPadding(size)]);
}

interface HeaderFields {
  readonly name: Buffer;
  readonly target: Buffer;
  readonly flag: string;
  readonly magic: Buffer;
  readonly ownership?: { readonly mode: number; readonly uid: number; readonly gid: number };
  readonly size: number;
}

function header({ name, target, flag, magic, ownership, size }: HeaderFields): Buffer {
  // From the pool: there are several for each file, and one that is allocated by itself costs more than it takes to fill it.
  const block = Buffer.allocUnsafe(BLOCK_BYTES).fill(0);
  name.copy(block, 0, 0, NAME_BYTES);
  if (ownership !== undefined) {
    writeNumber(block, 100, 8, ownership.mode);
    writeNumber(block, 108, 8, ownership.uid);
    writeNumber(block, 116, 8, ownership.gid);
  }
  writeNumber(block, 124, 12, size);
  writeNumber(block, 136, 12, 0);
  block[156] = flag.charCodeAt(0);
  target.copy(block, 157, 0, NAME_BYTES);
  magic.copy(block, 257);
  // The checksum is taken with its own field full of spaces.
  block.fill(SPACE, 148, 156);
  let sum = 0;
  for (let at = 0; at < BLOCK_BYTES; at++) sum += block[at] ?? 0;
  writeNumber(block, 148, 8, sum);
  return block;
}

/** Octal digits and a NUL; where they do not suffice, GNU's base-256, marked by the highest bit. */
function writeNumber(block: Buffer, offset: number, width: number, value: number): void {
  const digits = width - 1;
  if (value < 8 ** digits) {
    let left = value;
    for (let at = offset + digits - 1; at >= offset; at--) {
      block[at] = DIGIT_ZERO + (left % 8);
      left = Math.floor(left / 8);
    }
    block[offset + digits] = 0;
    return;
  }
  block.fill(0, offset, offset + width);
  block.writeUIntBE(value, offset + width - 6, 6);
  block[offset] = 0x80;
}
