/** The database of dpkg: `status`, the lists of files, and who has diverted what. Source: dpkg(1), dpkg-divert(1), deb-changelog(5). */
import { constants, gunzipSync } from 'node:zlib';
import { invalidDatabase } from './errors.ts';
import { type DpkgStanza, parseDpkgStatus } from './dpkg-status.ts';
import {
  type InstalledPackage,
  MAX_DATABASE_BYTES,
  PackageBounds,
  relativePath,
  tooLarge,
} from './installed-package.ts';
import { lines } from './text-lines.ts';
import type { ResolvedDirectory, TreePaths } from './tree-paths.ts';

/** Compressed; a change log's newest entries come first. */
const MAX_CHANGELOG_BYTES = 256 * 1024;
const MAX_CHANGELOG_TEXT_BYTES = 16 * 1024 * 1024;
/** Of what is kept about a package: a line or two from few that there are, the same ones for many packages. Source: deb-triggers(5). */
const TRIGGERS = /\.triggers$/;
/** ` -- Maintainer <address>  Date`: the last line of each entry. */
const TRAILER = /^ -- .*>[ ]{1,2}(\S.*)$/gm;

interface Diversion {
  readonly to: string;
  /** The package whose own file stays where it was; undefined when an administrator diverted it. */
  readonly by: string | undefined;
}

/** Reads the database in `database`, which has a file `status`. Throws InvalidDatabase or DatabaseTooLarge. */
export function readDpkgDatabase(paths: TreePaths, database: ResolvedDirectory): readonly InstalledPackage[] {
  const read = (path: string): string | undefined =>
    paths.readFile(path, MAX_DATABASE_BYTES, (size) => tooLarge(path, `it has ${size} bytes`))?.toString('utf8');
  const status = `${database.path}/status`;
  const stanzas = parseDpkgStatus(read(status) ?? '', status);
  const info = paths.resolveDirectory(`${database.path}/info`);
  const records = recordsByPackage(info);
  const diverted = parseDiversions(read(`${database.path}/diversions`) ?? '', `${database.path}/diversions`);
  const bounds = new PackageBounds(database.path);
  return stanzas.map((stanza) => {
    const { name, version, architecture, source, size } = stanza;
    const own = ownRecords(stanza, records);
    const listed = readList(own, read, bounds);
    const changeTimes = readChangelog(paths, stanza);
    return {
      manager: 'dpkg',
      id: `${name}=${version}:${architecture}`,
      name,
      version,
      architecture,
      source,
      size,
      ...(changeTimes.length > 0 && { buildTime: Math.max(...changeTimes) }),
      changeTimes,
      files: listed.map((path) => whereItLies(path, name, diverted)),
      records: own.filter((path) => !TRIGGERS.test(path)),
    };
  });
}

/** Reads `diversions`: three lines each, with the path, where others' files go instead, and who diverted it. */
export function parseDiversions(text: string, file: string): ReadonlyMap<string, Diversion> {
  const all = [...lines(text)];
  if (all.length % 3 !== 0) throw invalidDatabase(file, 'its lines do not come in threes');
  const diversions = new Map<string, Diversion>();
  for (let at = 0; at < all.length; at += 3) {
    const [from = '', to = '', by = ''] = all.slice(at, at + 3);
    if (!from.startsWith('/') || !to.startsWith('/') || by === '') {
      throw invalidDatabase(`${file} line ${at + 1}`, 'it is not a diversion');
    }
    diversions.set(relativePath(from), { to: relativePath(to), by: by === ':' ? undefined : by });
  }
  return diversions;
}

/** The newest entries' times, in seconds since the epoch. Entries whose date cannot be read are passed over, as dpkg does. */
export function parseChangelogTimes(text: string): readonly number[] {
  return Array.from(text.matchAll(TRAILER), ([, date = '']) => Math.floor(Date.parse(date) / 1000)).filter(
    (time) => Number.isSafeInteger(time) && time > 0,
  );
}

function whereItLies(path: string, name: string, diversions: ReadonlyMap<string, Diversion>): string {
  const diversion = diversions.get(path);
  return diversion === undefined || diversion.by === name ? path : diversion.to;
}

/** Files in `info` by what stands before their suffix: `bash`, `libc6:amd64`. */
function recordsByPackage(info: ResolvedDirectory | undefined): ReadonlyMap<string, readonly string[]> {
  const records = new Map<string, string[]>();
  for (const name of info?.directory.files.keys() ?? []) {
    const key = name.slice(0, name.lastIndexOf('.'));
    const path = `${info?.path}/${name}`;
    const known = records.get(key);
    if (known === undefined) records.set(key, [path]);
    else known.push(path);
  }
  return records;
}

/** Where copies for several architectures may be installed side by side, the names of records carry the architecture. */
function ownRecords(
  { name, architecture }: DpkgStanza,
  records: ReadonlyMap<string, readonly string[]>,
): readonly string[] {
  return records.get(`${name}:${architecture}`) ?? records.get(name) ?? [];
}

function readList(
  records: readonly string[],
  read: (path: string) => string | undefined,
  bounds: PackageBounds,
): readonly string[] {
  const list = records.find((path) => path.endsWith('.list'));
  const paths: string[] = [];
  for (const line of lines(list === undefined ? '' : (read(list) ?? ''))) {
    if (line === '') continue;
    if (list !== undefined && !line.startsWith('/'))
      throw invalidDatabase(list, 'it lists a path that is not absolute');
    const path = relativePath(line);
    bounds.countPath(path);
    if (path !== '' && path !== '.') paths.push(path);
  }
  return paths;
}

/** A change log tells how often a package changes, and nothing else: one that cannot be read is as good as none. */
function readChangelog(paths: TreePaths, { name, architecture }: DpkgStanza): readonly number[] {
  const folder = `usr/share/doc/${name}`;
  for (const file of ['changelog.Debian.gz', 'changelog.gz', `changelog.Debian.${architecture}.gz`]) {
    const checksum = paths.resolveFile(`${folder}/${file}`);
    if (checksum === undefined) continue;
    using stored = paths.source.openFile(checksum);
    // Read whole, though only its beginning is wanted: the largest have a megabyte.
    if (stored.size > 16 * MAX_CHANGELOG_BYTES) continue;
    const text = beginning(stored.readAll().subarray(0, MAX_CHANGELOG_BYTES));
    if (text !== undefined) return parseChangelogTimes(text);
  }
  return [];
}

function beginning(compressed: Buffer): string | undefined {
  try {
    const options = { finishFlush: constants.Z_SYNC_FLUSH, maxOutputLength: MAX_CHANGELOG_TEXT_BYTES };
    return gunzipSync(compressed, options).toString('utf8');
  } catch {
    return undefined;
  }
}
