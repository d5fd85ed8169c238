/** Which packages an operating system has, by the databases in its tree: those of apk, dpkg, pacman and rpm. */
import { invalidDatabase } from './errors.ts';
import { type CommitSource, treePathsOf } from './commit-source.ts';
import { parseApkInstalled } from './apk-database.ts';
import { readDpkgDatabase } from './dpkg-database.ts';
import { type InstalledPackage, MAX_DATABASE_BYTES, type PackageManager, tooLarge } from './installed-package.ts';
import { readPacmanDatabase } from './pacman-database.ts';
import { readRpmDatabase, RPM_DATABASE_FILES } from './rpm-database.ts';
import type { ResolvedDirectory, TreePaths } from './tree-paths.ts';

export interface PackageDatabases {
  readonly packages: readonly InstalledPackage[];
  /** The directories that hold them, as paths in the commit without links. */
  readonly directories: readonly string[];
}

interface DatabaseFormat {
  /** Where builders of image-based systems keep it, in the order in which they are looked at. */
  readonly directories: readonly string[];
  /** Whether the directory is one. */
  readonly isOne: (directory: ResolvedDirectory) => boolean;
  readonly read: (paths: TreePaths, directory: ResolvedDirectory) => readonly InstalledPackage[];
}

const FORMATS: Readonly<Record<PackageManager, DatabaseFormat>> = {
  rpm: {
    directories: ['usr/share/rpm', 'usr/lib/sysimage/rpm', 'var/lib/rpm'],
    isOne: ({ directory }) => RPM_DATABASE_FILES.some((name) => directory.files.has(name)),
    read: readRpmDatabase,
  },
  dpkg: {
    directories: [
      'var/lib/dpkg',
      'usr/lib/sysimage/dpkg',
      'usr/lib/sysimage/var/lib/dpkg',
      'usr/share/dpkg/database',
      'usr/lib/dpkg-db',
      'usr/share/factory/var/lib/dpkg',
    ],
    isOne: ({ directory }) => directory.files.has('status'),
    read: readDpkgDatabase,
  },
  apk: {
    directories: ['lib/apk/db', 'usr/lib/apk/db', 'usr/lib/sysimage/apk/db'],
    isOne: ({ directory }) => directory.files.has('installed'),
    read: readApkDatabase,
  },
  pacman: {
    directories: [
      'var/lib/pacman/local',
      'usr/lib/pacman/local',
      'usr/lib/sysimage/pacman/local',
      'usr/lib/sysimage/lib/pacman/local',
      'usr/share/pacman/local',
      'usr/share/factory/var/lib/pacman/local',
    ],
    isOne: ({ directory }) => directory.directories.size > 0,
    read: readPacmanDatabase,
  },
};

/** Where any of them may lie. */
export const DATABASE_DIRECTORIES: readonly string[] = Object.values(FORMATS).flatMap(({ directories }) => directories);

/** The packages of a commit, by identifier. Throws InvalidDatabase, UnsupportedDatabase or DatabaseTooLarge, and an OstreeError. */
export function readPackages(repository: CommitSource, commit: string): readonly InstalledPackage[] {
  return readPackageDatabases(treePathsOf(repository, commit)).packages;
}

/** Reads each manager's database where it is found first. A tree may have several, or none. */
export function readPackageDatabases(paths: TreePaths): PackageDatabases {
  const packages: InstalledPackage[] = [];
  const directories: string[] = [];
  for (const { directories: candidates, isOne, read } of Object.values(FORMATS)) {
    const found = candidates.map((path) => paths.resolveDirectory(path)).filter((one) => one !== undefined);
    const database = found.find(isOne);
    if (database === undefined) continue;
    directories.push(database.path);
    for (const one of read(paths, database)) packages.push(one);
  }
  return { packages: packages.sort((a, b) => (a.id < b.id ? -1 : a.id > b.id ? 1 : 0)), directories };
}

function readApkDatabase(paths: TreePaths, { path }: ResolvedDirectory): readonly InstalledPackage[] {
  const file = `${path}/installed`;
  const bytes = paths.readFile(file, MAX_DATABASE_BYTES, (size) => tooLarge(file, `it has ${size} bytes`));
  if (bytes === undefined) throw invalidDatabase(file, 'it is a link to nothing');
  return parseApkInstalled(bytes.toString('utf8'), file);
}
