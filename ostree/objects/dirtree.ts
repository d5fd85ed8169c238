/** A directory's content, `(a(say)a(sayay))`: names with the checksums of files and of subdirectories. */
import { OstreeError } from '../errors.ts';
import { decodeVariant } from '../gvariant/decode.ts';
import { encodeVariant } from '../gvariant/encode.ts';
import { parseType } from '../gvariant/type.ts';
import { compareNames } from './name-order.ts';
import { checksumBytes, checksumFromBytes } from './object-name.ts';

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

const TYPE = parseType('(a(say)a(sayay))');

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
  return encodeVariant(TYPE, [
    files.map(({ name, checksum }) => [name, checksumBytes(checksum)]),
    directories.map(({ name, dirtree, dirmeta }) => [name, checksumBytes(dirtree), checksumBytes(dirmeta)]),
  ]);
}

/** Parses a dirtree object. Throws InvalidData unless it is in normal form with valid, sorted and unique names. */
export function decodeDirtree(bytes: Buffer): Dirtree {
  // decodeVariant has checked the shape.
  const [files, directories] = decodeVariant(TYPE, bytes) as unknown as [
    readonly [string, Buffer][],
    readonly [string, Buffer, Buffer][],
  ];
  const dirtree = {
    files: files.map(([name, checksum]) => ({ name, checksum: checksumFromBytes(checksum) })),
    directories: directories.map(([name, dirtree, dirmeta]) => ({
      name,
      dirtree: checksumFromBytes(dirtree),
      dirmeta: checksumFromBytes(dirmeta),
    })),
  };
  assertNames(dirtree.files, dirtree.directories);
  return dirtree;
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
