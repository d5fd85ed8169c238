/**
 * A tar stream in the parts that a zstd:chunked layer keeps apart: headers with all that belongs to them, and contents.
 * Reads what this room writes: GNU headers with long names, PAX headers with attributes.
 */
import { ImportError } from '../../../import/errors.ts';
import { parsePaxRecords } from '../../../import/pax.ts';
import { BLOCK_SIZE, decodeHeader, isZeroBlock } from '../../../import/tar-header.ts';
import { ByteReader } from '../../byte-reader.ts';

const TYPES: Readonly<Record<string, PartEntry['type']>> = {
  '0': 'reg',
  '1': 'hardlink',
  '2': 'symlink',
  '5': 'dir',
};

export interface PartEntry {
  readonly type: 'reg' | 'hardlink' | 'symlink' | 'dir';
  readonly name: string;
  readonly linkName: string;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Seconds since the epoch. */
  readonly mtime: number;
  readonly xattrs: ReadonlyMap<string, Buffer>;
  /** Bytes of content. */
  readonly size: number;
}

export type TarPart =
  /** All bytes since the last content: its padding, and the headers of this entry. */
  | { readonly kind: 'entry'; readonly raw: Buffer; readonly entry: PartEntry }
  /** Some of the content of the entry before; valid until the next part is asked for. */
  | { readonly kind: 'content'; readonly bytes: Buffer }
  /** The bytes behind the last entry. */
  | { readonly kind: 'end'; readonly raw: Buffer };

/** @throws {ImportError} `InvalidLayer` for an archive that this room does not write; TarError when it is none. */
export async function* tarParts(tar: AsyncIterable<Buffer>): AsyncGenerator<TarPart> {
  const reader = new ByteReader(tar);
  let raw: Buffer[] = [];
  let xattrs: ReadonlyMap<string, Buffer> = new Map();
  let name: string | undefined;
  let linkName: string | undefined;
  for (;;) {
    const block = await reader.take(BLOCK_SIZE);
    raw.push(block);
    if (isZeroBlock(block, 0)) break;
    const header = decodeHeader(block, 0, { path: name !== undefined, linkPath: linkName !== undefined });
    const padding = (BLOCK_SIZE - (header.size % BLOCK_SIZE)) % BLOCK_SIZE;
    if ('LKx'.includes(header.typeFlag)) {
      const data = await reader.take(header.size);
      raw.push(data, await reader.take(padding));
      if (header.typeFlag === 'L') name = untilNul(data);
      else if (header.typeFlag === 'K') linkName = untilNul(data);
      else xattrs = parsePaxRecords(data).xattrs ?? new Map();
      continue;
    }
    const type = TYPES[header.typeFlag];
    if (type === undefined) {
      throw new ImportError('InvalidLayer', `a tar entry of type ${JSON.stringify(header.typeFlag)} has no place here`);
    }
    const { mode, uid, gid, mtime, size } = header;
    const entry = { type, name: name ?? header.path, linkName: linkName ?? header.linkPath, mode, uid, gid, mtime };
    yield { kind: 'entry', raw: Buffer.concat(raw), entry: { ...entry, xattrs, size } };
    raw = [];
    xattrs = new Map();
    [name, linkName] = [undefined, undefined];
    for await (const bytes of reader.pass(size)) yield { kind: 'content', bytes };
    if (padding > 0) raw.push(await reader.take(padding));
  }
  for await (const bytes of reader.rest()) raw.push(Buffer.from(bytes));
  yield { kind: 'end', raw: Buffer.concat(raw) };
}

function untilNul(data: Buffer): string {
  const end = data.indexOf(0);
  return data.toString('utf8', 0, end < 0 ? data.length : end);
}
