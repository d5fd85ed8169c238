/**
 * Where the data of a sparse file lies, in each of the encodings that GNU tar writes: its old header (`S`), and its PAX
 * formats 0.0, 0.1 and 1.0.
 *
 * A map is a claim about bytes that are not in the archive, so it is held to what a file can be: segments in order, without
 * overlaps, inside the file, and together as long as the data that follows.
 *
 * Source: GNU tar manual, "Storing Sparse Files".
 */
import { TarError } from './errors.ts';

export interface SparseSegment {
  readonly offset: number;
  readonly length: number;
}

/** What the PAX records of an entry say about holes, as they stand. */
export interface SparseRecords {
  major?: number;
  minor?: number;
  /** Under which the file is to be stored: the header has an invented name. */
  name?: string;
  /** Bytes of the expanded file. */
  realSize?: number;
  segments?: SparseSegment[];
  /** Format 0.0: an offset that waits for its length. */
  pendingOffset?: number;
}

/** Where the map of an entry is found. */
export type SparseLayout =
  | { readonly kind: 'known'; readonly realSize: number; readonly segments: readonly SparseSegment[] }
  /** In front of the data (format 1.0). */
  | { readonly kind: 'in-data'; readonly realSize: number };

/** Segments of one file: more than any file of a real image has, few enough to be kept. */
const MAX_SEGMENTS = 256 * 1024;
const DECIMAL = /^\d{1,16}$/;
const OLD_ENTRY_LENGTH = 24;
const OLD_FIELD_LENGTH = 12;

/** Takes in one `GNU.sparse.*` record; keys that say nothing about content are ignored. @throws {TarError} */
export function applySparseRecord(records: SparseRecords, key: string, value: Buffer, text: string): void {
  switch (key) {
    case 'GNU.sparse.major':
      records.major = parseSparseNumber(value.toString('latin1'));
      break;
    case 'GNU.sparse.minor':
      records.minor = parseSparseNumber(value.toString('latin1'));
      break;
    case 'GNU.sparse.name':
      records.name = text;
      break;
    case 'GNU.sparse.size':
    case 'GNU.sparse.realsize':
      records.realSize = parseSparseNumber(value.toString('latin1'));
      break;
    case 'GNU.sparse.numblocks':
      // Redundant: the segments are counted.
      records.segments ??= [];
      break;
    case 'GNU.sparse.offset':
      if (records.pendingOffset !== undefined) throw malformed('two offsets in a row');
      records.pendingOffset = parseSparseNumber(value.toString('latin1'));
      break;
    case 'GNU.sparse.numbytes': {
      if (records.pendingOffset === undefined) throw malformed('a length without an offset');
      const length = parseSparseNumber(value.toString('latin1'));
      append((records.segments ??= []), { offset: records.pendingOffset, length });
      delete records.pendingOffset;
      break;
    }
    case 'GNU.sparse.map':
      records.segments = parseMapRecord(value.toString('latin1'));
      break;
    default:
      throw new TarError('Sparse', `tar entry has the unknown sparse record ${JSON.stringify(key)}`);
  }
}

/** The layout that the records describe, for a file that they are about. @throws {TarError} */
export function sparseLayoutOf(records: SparseRecords): SparseLayout {
  const { realSize, segments, major, minor } = records;
  if (realSize === undefined) throw malformed('no size of the expanded file');
  if (major !== undefined || minor !== undefined) {
    if (major === 1 && minor === 0) return { kind: 'in-data', realSize };
    // GNU tar writes the numbers of format 0.1 too.
    if (major !== 0 || (minor !== 0 && minor !== 1)) {
      throw new TarError('Sparse', `tar entry is sparse in the unknown format ${major ?? '?'}.${minor ?? '?'}`);
    }
  }
  if (segments === undefined || records.pendingOffset !== undefined) throw malformed('no map');
  return { kind: 'known', realSize, segments };
}

/**
 * Reads map entries of an old GNU header or extension block into `segments`.
 *
 * @param decode reads the 12-byte number at an offset of the block
 * @returns false when an unused entry was met: the map is complete.
 */
export function readOldMap(
  block: Buffer,
  offset: number,
  count: number,
  segments: SparseSegment[],
  decode: (block: Buffer, offset: number, length: number) => number,
): boolean {
  for (let index = 0; index < count; index++) {
    const at = offset + index * OLD_ENTRY_LENGTH;
    if (block[at + OLD_FIELD_LENGTH] === 0) return false;
    append(segments, {
      offset: decode(block, at, OLD_FIELD_LENGTH),
      length: decode(block, at + OLD_FIELD_LENGTH, OLD_FIELD_LENGTH),
    });
  }
  return true;
}

/** Throws unless the segments can be those of a file of `realSize` bytes with `dataSize` bytes of data. */
export function checkSegments(segments: readonly SparseSegment[], realSize: number, dataSize: number): void {
  let end = 0;
  let sum = 0;
  for (const { offset, length } of segments) {
    if (offset < end || length < 0) throw malformed('segments that overlap or are out of order');
    end = offset + length;
    sum += length;
    if (!Number.isSafeInteger(end) || end > realSize) throw malformed('a segment beyond the end of the file');
  }
  if (sum !== dataSize) throw malformed(`a map of ${sum} bytes for ${dataSize} bytes of data`);
}

/** Reads the map in front of the data of a file in format 1.0: decimal numbers, one a line, padded to whole blocks. */
export class InDataMap {
  readonly #numbers: number[] = [];
  #digits = '';
  /** Numbers that the map has: known once the first, the count of segments, is. */
  #expected = 1;
  #length = 0;

  /** Takes in one byte. Returns whether the map is complete. @throws {TarError} */
  push(byte: number): boolean {
    this.#length++;
    if (byte !== 0x0a) {
      this.#digits += String.fromCharCode(byte);
      if (this.#digits.length > 16) throw malformed('a number that is too long');
      return false;
    }
    const number = parseSparseNumber(this.#digits);
    this.#digits = '';
    if (this.#numbers.push(number) === 1) {
      if (number > MAX_SEGMENTS) throw tooMany();
      this.#expected = 1 + 2 * number;
    }
    return this.#numbers.length === this.#expected;
  }

  /** Bytes taken in. */
  get length(): number {
    return this.#length;
  }

  get segments(): readonly SparseSegment[] {
    const segments: SparseSegment[] = [];
    for (let at = 1; at + 1 < this.#numbers.length; at += 2) {
      segments.push({ offset: this.#numbers[at] ?? 0, length: this.#numbers[at + 1] ?? 0 });
    }
    return segments;
  }
}

function parseMapRecord(text: string): SparseSegment[] {
  const numbers = text === '' ? [] : text.split(',');
  if (numbers.length % 2 !== 0) throw malformed('a map of odd length');
  const segments: SparseSegment[] = [];
  for (let at = 0; at < numbers.length; at += 2) {
    append(segments, {
      offset: parseSparseNumber(numbers[at] ?? ''),
      length: parseSparseNumber(numbers[at + 1] ?? ''),
    });
  }
  return segments;
}

function append(segments: SparseSegment[], segment: SparseSegment): void {
  if (segments.push(segment) > MAX_SEGMENTS) throw tooMany();
}

function parseSparseNumber(text: string): number {
  const number = DECIMAL.test(text) ? Number(text) : Number.NaN;
  if (!Number.isSafeInteger(number)) throw malformed(`the number ${JSON.stringify(text)}`);
  return number;
}

function malformed(what: string): TarError {
  return new TarError('CorruptHeader', `tar entry is a sparse file with ${what}`);
}

function tooMany(): TarError {
  return new TarError('TooLarge', `tar entry is a sparse file with more than ${MAX_SEGMENTS} pieces`);
}
