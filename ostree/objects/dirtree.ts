/** A directory's content, `(a(say)a(sayay))`: names with the checksums of files and of subdirectories. */
import { OstreeError } from '../errors.ts';
import { chooseOffsetWidth, offsetWidth, writeOffset } from '../gvariant/framing.ts';
import { compareNames } from './name-order.ts';
import { assertChecksum } from './object-name.ts';
import { PackedDirtree } from './packed-dirtree.ts';

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
  const { files, directories } = new PackedDirtree(bytes);
  return {
    files: indexes(files.length).map((index) => ({ name: files.name(index), checksum: files.checksum(index) })),
    directories: indexes(directories.length).map((index) => ({
      name: directories.name(index),
      dirtree: directories.checksum(index),
      dirmeta: directories.checksum(index, 1),
    })),
  };
}

function indexes(count: number): readonly number[] {
  return Array.from({ length: count }, (_, index) => index);
}

// An element is a name with its NUL, `count` checksums, and for each of its members but the last the offset of its end,
// the last one first. Directories are written by the ten thousand, so this does without the general codec.

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
