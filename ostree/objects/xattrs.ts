/**
 * Extended attributes as OSTree stores them: `a(ayay)`, each name with its trailing NUL, sorted by name. The bytes are
 * part of the checksum of every file and directory.
 */
import { OstreeError } from '../errors.ts';
import { appendOffsets, offsetWidth, readOffset } from '../gvariant/framing.ts';
import { compareNames } from './name-order.ts';

export interface Xattr {
  /** For example `security.capability`; without the trailing NUL. */
  readonly name: string;
  readonly value: Buffer;
}

/** The attributes of a thing that has none. */
export const NO_XATTRS: readonly Xattr[] = Object.freeze([]);

// The same few lists belong to tens of thousands of files; each is encoded once.
const encoded = new WeakMap<readonly Xattr[], Buffer>();

/**
 * `list` in the only form that `ostree fsck` accepts: sorted, and without attributes whose value is empty, which libostree
 * does not see on disk. Throws InvalidData if a name occurs twice or cannot be a name.
 */
export function canonicalXattrs(list: readonly Xattr[]): readonly Xattr[] {
  const sorted = list.filter(({ value }) => value.length > 0).sort((a, b) => compareNames(a.name, b.name));
  for (const [index, { name }] of sorted.entries()) {
    if (name === '' || name.includes('\0')) throw new OstreeError('InvalidData', 'an extended attribute has no name');
    if (name === sorted[index + 1]?.name) {
      throw new OstreeError('InvalidData', `the extended attribute ${name} is given twice`);
    }
  }
  return sorted;
}

/** Serialises the list in the order given. Lists are treated as immutable: the result is remembered per list. */
export function encodeXattrs(list: readonly Xattr[]): Buffer {
  const known = encoded.get(list);
  if (known !== undefined) return known;
  const elements = list.map(({ name, value }) => {
    const key = Buffer.from(`${name}\0`);
    return appendOffsets(Buffer.concat([key, value]), [key.length]);
  });
  let end = 0;
  const bytes = appendOffsets(
    Buffer.concat(elements),
    elements.map((element) => (end += element.length)),
  );
  encoded.set(list, bytes);
  return bytes;
}

/** Parses `a(ayay)`. Throws InvalidData on anything that is not its normal form, or on a name that is not text. */
export function decodeXattrs(bytes: Buffer): readonly Xattr[] {
  if (bytes.length === 0) return NO_XATTRS;
  const width = offsetWidth(bytes.length);
  const bodySize = bytes.length < width ? Infinity : readOffset(bytes, bytes.length - width, width);
  if (bodySize > bytes.length - width || (bytes.length - bodySize) % width !== 0) throw malformed();
  const list: Xattr[] = [];
  let start = 0;
  for (let position = bodySize; position < bytes.length; position += width) {
    const end = readOffset(bytes, position, width);
    if (end < start || end > bodySize) throw malformed();
    list.push(decodeXattr(bytes.subarray(start, end)));
    start = end;
  }
  if (!encodeXattrs(list).equals(bytes)) throw malformed();
  return list;
}

function decodeXattr(element: Buffer): Xattr {
  const width = offsetWidth(element.length);
  if (element.length < width) throw malformed();
  const limit = element.length - width;
  const keyEnd = readOffset(element, limit, width);
  if (keyEnd > limit || element.indexOf(0) !== keyEnd - 1) throw malformed();
  return { name: element.toString('utf8', 0, keyEnd - 1), value: Buffer.from(element.subarray(keyEnd, limit)) };
}

function malformed(): OstreeError {
  return new OstreeError('InvalidData', 'the bytes are not a list of extended attributes');
}
