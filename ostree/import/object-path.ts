/**
 * Names inside the object store that an encapsulated image carries at `sysroot/ostree/repo`.
 *
 * Source: ostree-rs-ext, "ostree-container" format v1: layout of base layers; ostree `bare-split-xattrs` mode.
 */
import { isChecksum } from '../objects/object-name.ts';
import { ImportError } from './errors.ts';

/** What an entry of a base layer is. */
export type StoreEntry =
  | { readonly kind: 'commit' | 'commitmeta' | 'dirtree' | 'dirmeta' | 'file'; readonly checksum: string }
  /** Attributes shared by many files (2022 to 2025); the checksum is that of the bytes. */
  | { readonly kind: 'xattrs'; readonly checksum: string }
  /** Attributes of the file object that follows, inline or as a hardlink to an `xattrs` entry. */
  | { readonly kind: 'xattrs-link'; readonly checksum: string };

const STORE = 'sysroot/ostree/repo/';
const OBJECT_SUFFIXES = new Map<string, StoreEntry['kind']>([
  ['commit', 'commit'],
  ['commitmeta', 'commitmeta'],
  ['dirtree', 'dirtree'],
  ['dirmeta', 'dirmeta'],
  ['file', 'file'],
  ['file-xattrs', 'xattrs'],
  ['file-xattrs-link', 'xattrs-link'],
  // Format v0 of 2021.
  ['file.xattrs', 'xattrs-link'],
]);

/**
 * The part of the store that `path` names, or undefined for everything that importers ignore: the tree that containers
 * see, the store's config and refs.
 *
 * @throws {ImportError} `InvalidLayer` for a name under `objects/` that is none.
 */
export function parseStorePath(path: string): StoreEntry | undefined {
  let start = 0;
  if (path.startsWith('./')) start = 2;
  else if (path.startsWith('/')) start = 1;
  if (!path.startsWith(STORE, start)) return undefined;
  const inside = path.slice(start + STORE.length);
  if (inside.startsWith('objects/')) return parseObject(path, inside.slice('objects/'.length));
  if (inside.startsWith('xattrs/')) {
    const checksum = inside.slice('xattrs/'.length);
    if (!isChecksum(checksum)) throw invalid(path);
    return { kind: 'xattrs', checksum };
  }
  return undefined;
}

/** The checksum of the attributes that a hardlink names, in either format. */
export function parseXattrsTarget(linkPath: string): string {
  const match = /(?:^|\/)(?:([0-9a-f]{2})\/([0-9a-f]{62})\.file-xattrs|xattrs\/([0-9a-f]{64}))$/.exec(linkPath);
  if (match === null) throw invalid(linkPath);
  return match[3] ?? `${match[1] ?? ''}${match[2] ?? ''}`;
}

function parseObject(path: string, name: string): StoreEntry {
  // "ab/" and 62 digits, then a dot and the type.
  const checksum = name.slice(0, 2) + name.slice(3, 65);
  const kind = OBJECT_SUFFIXES.get(name.slice(66));
  if (name[2] !== '/' || name[65] !== '.' || !isChecksum(checksum)) throw invalid(path);
  if (kind === undefined) throw new ImportError('InvalidLayer', `invalid object type in ${path}`);
  return { kind, checksum };
}

function invalid(path: string): ImportError {
  return new ImportError('InvalidLayer', `${path} is not the name of an OSTree object`);
}
