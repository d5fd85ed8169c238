/** An rpm header as the database of rpm stores it. Source: rpm's "Package format" (docs/manual/format.md) and tags.md. */
import { invalidDatabase } from './errors.ts';
import { type InstalledPackage, isPackageName, type PackageBounds, relativePath } from './installed-package.ts';

/** rpm's own limits for a header that it loads. */
const MAX_ENTRIES = 65_535;
const MAX_DATA_BYTES = 256 * 1024 * 1024;
/** PATH_MAX. */
const MAX_PATH_BYTES = 4096;

const TYPE = { int32: 4, int64: 5, string: 6, stringArray: 8, i18nString: 9 } as const;
const TAG = {
  name: 1000,
  version: 1001,
  release: 1002,
  epoch: 1003,
  buildTime: 1006,
  size: 1009,
  architecture: 1022,
  sourceRpm: 1044,
  changelogTime: 1080,
  directoryIndexes: 1116,
  baseNames: 1117,
  directoryNames: 1118,
  longSize: 5009,
} as const;

/** Names in the database that are no packages: keys that rpm trusts. */
const PUBLIC_KEY = 'gpg-pubkey';

interface Entry {
  readonly type: number;
  readonly offset: number;
  readonly count: number;
}

/** Reads one header; undefined for what is no package. Throws InvalidDatabase or DatabaseTooLarge. @param where for messages */
export function parseRpmHeader(blob: Buffer, where: string, bounds: PackageBounds): InstalledPackage | undefined {
  bounds.countPackage();
  const header = new RpmHeader(blob, where);
  const name = header.string(TAG.name) ?? '';
  if (name === PUBLIC_KEY) return undefined;
  const release = header.string(TAG.release) ?? '';
  const upstream = header.string(TAG.version) ?? '';
  const architecture = header.string(TAG.architecture) ?? 'noarch';
  if (![name, upstream, release, architecture].every(isPackageName)) {
    throw invalidDatabase(where, 'a package lacks a usable name, version, release or architecture');
  }
  const epoch = header.numbers(TAG.epoch)[0];
  const version = `${epoch === undefined ? '' : `${epoch}:`}${upstream}-${release}`;
  const [buildTime] = header.numbers(TAG.buildTime);
  return {
    manager: 'rpm',
    id: `${name}-${version}.${architecture}`,
    name,
    version,
    architecture,
    source: sourceName(header.string(TAG.sourceRpm)) ?? name,
    size: header.numbers(TAG.longSize)[0] ?? header.numbers(TAG.size)[0] ?? 0,
    ...(buildTime !== undefined && { buildTime }),
    changeTimes: header.numbers(TAG.changelogTime),
    files: header.paths(bounds),
    records: [],
  };
}

/** `bash` of `bash-5.2.26-3.fc40.src.rpm`. */
function sourceName(file: string | undefined): string | undefined {
  const [, name] = /^(.+)-[^-]+-[^-]+\.(?:no)?src\.rpm$/.exec(file ?? '') ?? [];
  return name !== undefined && isPackageName(name) ? name : undefined;
}

class RpmHeader {
  readonly #data: Buffer;
  readonly #entries = new Map<number, Entry>();
  readonly #where: string;

  constructor(blob: Buffer, where: string) {
    this.#where = where;
    const count = blob.length < 8 ? 0 : blob.readUInt32BE(0);
    const size = blob.length < 8 ? 0 : blob.readUInt32BE(4);
    if (count === 0 || count > MAX_ENTRIES || size > MAX_DATA_BYTES || blob.length !== 8 + 16 * count + size) {
      throw this.#malformed('its length is wrong');
    }
    this.#data = blob.subarray(8 + 16 * count);
    for (let at = 8; at < 8 + 16 * count; at += 16) {
      // What rpm has added on installation comes last, and counts.
      this.#entries.set(blob.readUInt32BE(at), {
        type: blob.readUInt32BE(at + 4),
        offset: blob.readInt32BE(at + 8),
        count: blob.readUInt32BE(at + 12),
      });
    }
  }

  string(tag: number): string | undefined {
    const entry = this.#entries.get(tag);
    if (entry === undefined) return undefined;
    if (entry.type !== TYPE.string && entry.type !== TYPE.i18nString) throw this.#malformed(`tag ${tag} is not text`);
    return this.#strings(tag, { ...entry, count: 1 })[0];
  }

  numbers(tag: number): readonly number[] {
    const entry = this.#entries.get(tag);
    if (entry === undefined) return [];
    const { type, offset, count } = entry;
    const width = type === TYPE.int32 ? 4 : type === TYPE.int64 ? 8 : undefined;
    if (width === undefined) throw this.#malformed(`tag ${tag} is not a list of numbers`);
    if (offset < 0 || offset + width * count > this.#data.length) throw this.#malformed(`tag ${tag} lies outside`);
    return Array.from({ length: count }, (_, index) => {
      const at = offset + width * index;
      return width === 4 ? this.#data.readUInt32BE(at) : Number(this.#data.readBigUInt64BE(at));
    });
  }

  /** The names of files, which stand apart from those of their directories. */
  paths(bounds: PackageBounds): readonly string[] {
    const indexes = this.numbers(TAG.directoryIndexes);
    const baseNames = this.#stringList(TAG.baseNames);
    const directories = this.#stringList(TAG.directoryNames).map(relativeDirectory);
    if (indexes.length !== baseNames.length) throw this.#malformed('it has not as many names as directories of files');
    const paths: string[] = [];
    for (const [at, baseName] of baseNames.entries()) {
      const directory = directories[indexes[at] ?? -1];
      if (directory === undefined) throw this.#malformed('a file is in no directory');
      if (baseName.includes('/')) throw this.#malformed('the name of a file holds a slash');
      const path = `${directory}${baseName}`;
      if (path.length > MAX_PATH_BYTES) throw this.#malformed('a path is longer than any file has');
      bounds.countPath(path);
      if (path !== '') paths.push(path);
    }
    return paths;
  }

  #stringList(tag: number): readonly string[] {
    const entry = this.#entries.get(tag);
    if (entry === undefined) return [];
    if (entry.type !== TYPE.stringArray) throw this.#malformed(`tag ${tag} is not a list of texts`);
    return this.#strings(tag, entry);
  }

  #strings(tag: number, { offset, count }: Entry): readonly string[] {
    if (offset < 0 || offset + count > this.#data.length) throw this.#malformed(`tag ${tag} lies outside`);
    const strings: string[] = [];
    for (let at = offset; strings.length < count;) {
      const end = this.#data.indexOf(0, at);
      if (end < 0) throw this.#malformed(`tag ${tag} lies outside`);
      strings.push(this.#data.toString('utf8', at, end));
      at = end + 1;
    }
    return strings;
  }

  #malformed(problem: string): Error {
    return invalidDatabase(this.#where, `the header of a package is malformed, ${problem}`);
  }
}

/** `usr/bin/` of `/usr/bin/`; empty for the root. */
function relativeDirectory(name: string): string {
  const path = relativePath(name);
  return path === '' ? '' : `${path}/`;
}
