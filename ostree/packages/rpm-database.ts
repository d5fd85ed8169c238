/** The database of rpm in whichever of its formats a commit carries it. */
import { PackageError } from './errors.ts';
import { type InstalledPackage, MAX_DATABASE_BYTES, PackageBounds, tooLarge } from './installed-package.ts';
import { parseRpmHeader } from './rpm-header.ts';
import { readNdbHeaders } from './rpm-ndb.ts';
import { readSqliteHeaders } from './rpm-sqlite.ts';
import type { ResolvedDirectory, TreePaths } from './tree-paths.ts';

const SQLITE = 'rpmdb.sqlite';
const WRITE_AHEAD_LOG = 'rpmdb.sqlite-wal';
const NDB = 'Packages.db';
const BERKELEY = 'Packages';

/** Files by any of which a directory is known as a database of rpm. */
export const RPM_DATABASE_FILES: readonly string[] = [SQLITE, NDB, BERKELEY];

/** Reads the database in `database`. Throws InvalidDatabase, UnsupportedDatabase or DatabaseTooLarge. */
export function readRpmDatabase(paths: TreePaths, database: ResolvedDirectory): readonly InstalledPackage[] {
  const read = (name: string): Buffer | undefined =>
    paths.readFile(`${database.path}/${name}`, MAX_DATABASE_BYTES, (size) =>
      tooLarge(`${database.path}/${name}`, `it has ${size} bytes`),
    );
  const sqlite = read(SQLITE);
  if (sqlite !== undefined) {
    if ((read(WRITE_AHEAD_LOG)?.length ?? 0) > 0) throw unfinished(`${database.path}/${WRITE_AHEAD_LOG}`);
    return readHeaders(readSqliteHeaders(sqlite, `${database.path}/${SQLITE}`), `${database.path}/${SQLITE}`);
  }
  const ndb = read(NDB);
  if (ndb !== undefined) {
    return readHeaders(readNdbHeaders(ndb, `${database.path}/${NDB}`), `${database.path}/${NDB}`);
  }
  throw new PackageError(
    'UnsupportedDatabase',
    `The package database ${database.path}/${BERKELEY} is in the Berkeley DB format, which is not read; convert it in the tree with \`rpmdb --rebuilddb --define "_db_backend sqlite"\` and commit the tree again, or say with a content metadata file which layer each file belongs to`,
  );
}

function readHeaders(headers: Iterable<Buffer>, file: string): readonly InstalledPackage[] {
  const bounds = new PackageBounds(file);
  const packages: InstalledPackage[] = [];
  for (const header of headers) {
    const one = parseRpmHeader(header, file, bounds);
    if (one !== undefined) packages.push(one);
  }
  return packages;
}

function unfinished(file: string): PackageError {
  return new PackageError(
    'UnsupportedDatabase',
    `The package database has changes in ${file} that are not yet in the database itself; run \`rpmdb --rebuilddb\` in the tree and commit it again`,
  );
}
