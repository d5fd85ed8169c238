/** A directory's content, `(a(say)a(sayay))`: names with the checksums of files and of subdirectories. */
import { OstreeError } from '../errors.ts';
import { chooseOffsetWidth, offsetWidth, readOffset, writeOffset } from '../gvariant/framing.ts';
import { compareNames } from './name-order.ts';
import { assertChecksum } from './object-name.ts';

const CHECKSUM_BYTES = 32;

export interface DirtreeFile {
  readonly name: string;
  readonly checksum: string;
}

export interface DirtreeDirectory {
  readonly name: string;
  readonly dirtree: string;
  readonly dirmeta: string;
}

export interface Dirtree {
  readonly files: readonly DirtreeFile[];
  readonly directories: readonly DirtreeDirectory[];
}

/** Throws InvalidData unless `name` can be the name of one directory entry. */
export function assertEntryName(name: string): void {
  if (name === '' || name === '.' || name === '..' || /[/\0]/.test(name) || !name.isWellFormed()) {
    throw new OstreeError('InvalidData', `${JSON.stringify(name.slice(0, 80))} cannot be the name of a file`);
  }
}

/** Serialises the directory, sorting the entries. Throws InvalidData if a name is impossible or occurs twice. */
export function encodeDirtree(dirtree: Dirtree): Buffer {
  const files = [...dirtree.files].sort((a, b) => compareNames(a.name, b.name));
  const directories = [...dirtree.directories].sort((a, b) => compareNames(a.name, b.name));
  assertNames(files, directories);
  const filesEnd = arraySize(files, 1);
  const bodySize = filesEnd + arraySize(directories, 2);
  const width = chooseOffsetWidth(bodySize, 1);
  const bytes = Buffer.allocUnsafe(bodySize + width);
  writeArray(bytes, 0, filesEnd, files, ({ checksum }) => [checksum]);
  writeArray(bytes, filesEnd, bodySize, directories, ({ dirtree, dirmeta }) => [dirtree, dirmeta]);
  writeOffset(bytes, bodySize, width, filesEnd);
  return bytes;
}

/** Parses a dirtree object. Throws InvalidData unless it is in normal form with valid, sorted and unique names. */
export function decodeDirtree(bytes: Buffer): Dirtree {
  const width = offsetWidth(bytes.length);
  const bodySize = bytes.length - width;
  const filesEnd = bodySize < 0 ? Infinity : readOffset(bytes, bodySize, width);
  if (filesEnd > bodySize) throw malformed();
  const dirtree = {
    files: readArray(bytes.subarray(0, filesEnd), 1).map(({ name, checksums: [checksum = ''] }) => ({
      name,
      checksum,
    })),
    directories: readArray(bytes.subarray(filesEnd, bodySize), 2).map(
      ({ name, checksums: [dirtree = '', dirmeta = ''] }) => ({ name, dirtree, dirmeta }),
    ),
  };
  assertNames(dirtree.files, dirtree.directories);
  // Whatever else could be written in two ways: only one of them has a checksum that others know.
  if (!encodeDirtree(dirtree).equals(bytes)) throw malformed();
  return dirtree;
}

// An element is a name with its NUL, `count` checksums, and for each of its members but the last the offset of its end,
// the last one first. Directories are written and read by the ten thousand, so this does without the general codec.

function elementSize(name: string, count: number): number {
  const bodySize = Buffer.byteLength(name) + 1 + count * CHECKSUM_BYTES;
  return bodySize + count * chooseOffsetWidth(bodySize, count);
}

function arraySize(entries: readonly { readonly name: string }[], count: number): number {
  if (entries.length === 0) return 0;
  const bodySize = entries.reduce((sum, { name }) => sum + elementSize(name, count), 0);
  return bodySize + entries.length * chooseOffsetWidth(bodySize, entries.length);
}

function writeArray<Entry extends { readonly name: string }>(
  bytes: Buffer,
  start: number,
  end: number,
  entries: readonly Entry[],
  checksumsOf: (entry: Entry) => readonly string[],
): void {
  const width = offsetWidth(end - start);
  let at = start;
  let offset = end - width * entries.length;
  for (const entry of entries) {
    at = writeElement(bytes, at, entry.name, checksumsOf(entry));
    writeOffset(bytes, offset, width, at - start);
    offset += width;
  }
}

/** Returns where it ended. */
function writeElement(bytes: Buffer, start: number, name: string, checksums: readonly string[]): number {
  let at = start + bytes.write(name, start);
  bytes[at++] = 0;
  const ends: number[] = [];
  for (const checksum of checksums) {
    ends.push(at - start);
    assertChecksum(checksum);
    at += bytes.write(checksum, at, 'hex');
  }
  const width = chooseOffsetWidth(at - start, ends.length);
  for (const end of ends.reverse()) {
    writeOffset(bytes, at, width, end);
    at += width;
  }
  return at;
}

interface Element {
  readonly name: string;
  readonly checksums: readonly string[];
}

function readArray(bytes: Buffer, count: number): readonly Element[] {
  if (bytes.length === 0) return [];
  const width = offsetWidth(bytes.length);
  const bodySize = bytes.length < width ? Infinity : readOffset(bytes, bytes.length - width, width);
  if (bodySize > bytes.length - width || (bytes.length - bodySize) % width !== 0) throw malformed();
  const elements: Element[] = [];
  let start = 0;
  for (let position = bodySize; position < bytes.length; position += width) {
    const end = readOffset(bytes, position, width);
    if (end < start || end > bodySize) throw malformed();
    elements.push(readElement(bytes.subarray(start, end), count));
    start = end;
  }
  return elements;
}

function readElement(bytes: Buffer, count: number): Element {
  const width = offsetWidth(bytes.length);
  // The first offset stands last: that of the name.
  const nameEnd = bytes.length < width ? Infinity : readOffset(bytes, bytes.length - width, width);
  if (nameEnd + count * (CHECKSUM_BYTES + width) !== bytes.length || bytes[nameEnd - 1] !== 0) throw malformed();
  const checksums: string[] = [];
  for (let at = nameEnd; checksums.length < count; at += CHECKSUM_BYTES) {
    checksums.push(bytes.toString('hex', at, at + CHECKSUM_BYTES));
  }
  return { name: bytes.toString('utf8', 0, nameEnd - 1), checksums };
}

function malformed(): OstreeError {
  return new OstreeError('InvalidData', 'the bytes are not a directory in normal form');
}

function assertNames(files: readonly { name: string }[], directories: readonly { name: string }[]): void {
  const names = new Set<string>();
  for (const list of [files, directories]) {
    let previous: string | undefined;
    for (const { name } of list) {
      assertEntryName(name);
      if (names.has(name) || (previous !== undefined && compareNames(previous, name) >= 0)) {
        throw new OstreeError('InvalidData', `a directory lists ${JSON.stringify(name)} twice or out of order`);
      }
      names.add(name);
      previous = name;
    }
  }
}
