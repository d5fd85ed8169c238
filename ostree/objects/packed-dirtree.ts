/**
 * A directory as it lies in its object, `(a(say)a(sayay))`: for those who look through ten thousands of files and need
 * text of few of them. The bytes are held against the one form that they can have, without writing them once more.
 */
import { isUtf8 } from 'node:buffer';
import { OstreeError } from '../errors.ts';
import { chooseOffsetWidth, offsetWidth, readOffset } from '../gvariant/framing.ts';

const CHECKSUM_BYTES = 32;
const SLASH = 0x2f;
const DOT = 0x2e;
const ASCII_END = 0x80;

export class PackedDirtree {
  readonly bytes: Buffer;
  /** Each with the checksum of its content object. */
  readonly files: PackedEntries;
  /** Each with the checksums of its dirtree and its dirmeta. */
  readonly directories: PackedEntries;

  /** Throws InvalidData unless `bytes` are in normal form, with valid, sorted and unique names. */
  constructor(bytes: Buffer) {
    const width = offsetWidth(bytes.length);
    const bodySize = bytes.length - width;
    const filesEnd = bodySize < 0 ? Infinity : readOffset(bytes, bodySize, width);
    if (filesEnd > bodySize || chooseOffsetWidth(bodySize, 1) !== width) throw malformed();
    this.bytes = bytes;
    this.files = new PackedEntries(bytes, 0, filesEnd, 1);
    this.directories = new PackedEntries(bytes, filesEnd, bodySize, 2);
    assertDistinct(bytes, this.files, this.directories);
  }
}

/**
 * One of the two arrays. An element is a name with its NUL, the checksums, and for each of its members but the last the
 * offset of its end, the last one first.
 */
export class PackedEntries {
  readonly length: number;
  readonly #bytes: Buffer;
  readonly #start: number;
  readonly #checksums: number;
  /** Of the offsets at which elements end, and where these begin. */
  readonly #width: 1 | 2 | 4 | 8;
  readonly #offsets: number;

  /** Throws InvalidData unless the elements between `start` and `end` are in normal form and sorted. */
  constructor(bytes: Buffer, start: number, end: number, checksums: 1 | 2) {
    this.#bytes = bytes;
    this.#start = start;
    this.#checksums = checksums;
    const size = end - start;
    this.#width = offsetWidth(size);
    // The last offset is where the last element ends and the offsets begin.
    const bodySize = size === 0 ? 0 : size < this.#width ? Infinity : readOffset(bytes, end - this.#width, this.#width);
    if (bodySize > size - (size === 0 ? 0 : this.#width) || (size - bodySize) % this.#width !== 0) throw malformed();
    this.#offsets = start + bodySize;
    this.length = (size - bodySize) / this.#width;
    if (size > 0 && chooseOffsetWidth(bodySize, this.length) !== this.#width) throw malformed();
    this.#check();
  }

  /** Bytes of a name. */
  nameBytes(index: number): number {
    return this.nameEnd(index) - this.nameStart(index);
  }

  name(index: number): string {
    return this.#bytes.toString('utf8', this.nameStart(index), this.nameEnd(index));
  }

  /** Where a checksum, the first or the second, begins in the directory's bytes. */
  checksumAt(index: number, which: 0 | 1 = 0): number {
    return this.nameEnd(index) + 1 + which * CHECKSUM_BYTES;
  }

  /** The same as text. */
  checksum(index: number, which: 0 | 1 = 0): string {
    const at = this.checksumAt(index, which);
    return this.#bytes.toString('hex', at, at + CHECKSUM_BYTES);
  }

  /** Where a name begins in the directory's bytes. */
  nameStart(index: number): number {
    return index === 0 ? this.#start : this.#elementEnd(index - 1);
  }

  /** Where it ends; its NUL is not part of it. */
  nameEnd(index: number): number {
    const end = this.#elementEnd(index);
    const width = offsetWidth(end - this.nameStart(index));
    return end - this.#checksums * (width + CHECKSUM_BYTES) - 1;
  }

  #elementEnd(index: number): number {
    return this.#start + readAt(this.#bytes, this.#offsets + index * this.#width, this.#width);
  }

  #check(): void {
    let start = this.#start;
    let [previousStart, previousEnd] = [0, 0];
    for (let index = 0; index < this.length; index++) {
      const end = this.#elementEnd(index);
      if (end < start || end > this.#offsets) throw malformed();
      const nameEnd = this.#checkElement(start, end);
      assertName(this.#bytes, start, nameEnd);
      if (index > 0 && compare(this.#bytes, previousStart, previousEnd, start, nameEnd) >= 0)
        throw misplaced(this.#bytes, start, nameEnd);
      [previousStart, previousEnd] = [start, nameEnd];
      start = end;
    }
  }

  /** Returns where the name ends, which follows from how long the element is; what the offsets say must be the same. */
  #checkElement(start: number, end: number): number {
    const width = offsetWidth(end - start);
    const bodyEnd = end - this.#checksums * width;
    const nameEnd = bodyEnd - this.#checksums * CHECKSUM_BYTES - 1;
    if (nameEnd < start || this.#bytes[nameEnd] !== 0) throw malformed();
    if (chooseOffsetWidth(bodyEnd - start, this.#checksums) !== width) throw malformed();
    for (let member = 0; member < this.#checksums; member++) {
      const offset = readAt(this.#bytes, end - (member + 1) * width, width);
      if (start + offset !== nameEnd + 1 + member * CHECKSUM_BYTES) throw malformed();
    }
    return nameEnd;
  }
}

/** `readOffset`, faster where offsets are short, as they nearly always are. */
function readAt(bytes: Buffer, at: number, width: 1 | 2 | 4 | 8): number {
  if (width === 1) return bytes[at] ?? Infinity;
  if (width === 2) return (bytes[at] ?? Infinity) + 256 * (bytes[at + 1] ?? Infinity);
  return readOffset(bytes, at, width);
}

/** What `assertEntryName` says, of a name's bytes; and they must be UTF-8. */
function assertName(bytes: Buffer, start: number, end: number): void {
  const length = end - start;
  let isAscii = true;
  let isValid = length > 0 && !(bytes[start] === DOT && (length === 1 || (length === 2 && bytes[start + 1] === DOT)));
  for (let at = start; at < end; at++) {
    const byte = bytes[at] ?? 0;
    if (byte === 0 || byte === SLASH) isValid = false;
    if (byte >= ASCII_END) isAscii = false;
  }
  if (!isValid || (!isAscii && !isUtf8(bytes.subarray(start, end))))
    throw new OstreeError('InvalidData', `${textOf(bytes, start, end)} cannot be the name of a file`);
}

/** No name may be that of a file and of a directory. Both lists are sorted. */
function assertDistinct(bytes: Buffer, files: PackedEntries, directories: PackedEntries): void {
  let file = 0;
  for (let directory = 0; directory < directories.length; directory++) {
    const [start, end] = [directories.nameStart(directory), directories.nameEnd(directory)];
    for (; file < files.length; file++) {
      const order = compare(bytes, files.nameStart(file), files.nameEnd(file), start, end);
      if (order === 0) throw misplaced(bytes, start, end);
      if (order > 0) break;
    }
  }
}

/** By bytes, as `strcmp` does. */
function compare(bytes: Buffer, start: number, end: number, otherStart: number, otherEnd: number): number {
  const shared = Math.min(end - start, otherEnd - otherStart);
  for (let at = 0; at < shared; at++) {
    const difference = (bytes[start + at] ?? 0) - (bytes[otherStart + at] ?? 0);
    if (difference !== 0) return difference;
  }
  return end - start - (otherEnd - otherStart);
}

function textOf(bytes: Buffer, start: number, end: number): string {
  return JSON.stringify(bytes.toString('utf8', start, end).slice(0, 80));
}

function malformed(): OstreeError {
  return new OstreeError('InvalidData', 'the bytes are not a directory in normal form');
}

function misplaced(bytes: Buffer, start: number, end: number): OstreeError {
  return new OstreeError('InvalidData', `a directory lists ${textOf(bytes, start, end)} twice or out of order`);
}
