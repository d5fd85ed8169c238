/** The files of a tree that say which packages it has, without the tree: what is worth fetching of an image to know them. */
import { S_IFREG } from '../objects/file-header.ts';
import { NO_XATTRS } from '../objects/xattrs.ts';
import { TreeDirectory } from '../tree/tree-directory.ts';
import type { InstalledPackage } from './installed-package.ts';
import { DATABASE_DIRECTORIES, readPackageDatabases } from './package-databases.ts';
import { TreePaths } from './tree-paths.ts';

/** Files that name packages and versions, within a directory of databases; not those that list files of packages. */
const FILE = /^(?:status|installed|rpmdb\.sqlite(?:-wal)?|Packages(?:\.db)?|[^/]+\/desc)$/;
/** No object has the checksum: it only takes its place in a tree in memory. */
const PLACEHOLDER = '0'.repeat(64);

/** Whether what lies at `path` of a tree tells about its packages. */
export function isDatabaseFile(path: string): boolean {
  return DATABASE_DIRECTORIES.some(
    (directory) => path.startsWith(`${directory}/`) && FILE.test(path.slice(directory.length + 1)),
  );
}

/** Paths of such files in a tree, with their checksums. */
export function databaseFilesIn(root: TreeDirectory): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  for (const directory of DATABASE_DIRECTORIES) {
    const tree = root.lookup(directory);
    if (!(tree instanceof TreeDirectory)) continue;
    // One level below for pacman, whose packages have directories of their own.
    for (const [name, checksum] of tree.files) if (FILE.test(name)) found.set(`${directory}/${name}`, checksum);
    for (const [name, child] of tree.directories) {
      const checksum = child.files.get('desc');
      if (checksum !== undefined) found.set(`${directory}/${name}/desc`, checksum);
    }
  }
  return found;
}

/**
 * The packages that such files tell of; they have no files, for nothing was fetched that lists them.
 *
 * @throws {PackageError} `InvalidDatabase`, `UnsupportedDatabase` or `DatabaseTooLarge`
 */
export function packagesOfFiles(files: ReadonlyMap<string, Buffer>): readonly InstalledPackage[] {
  const root = TreeDirectory.empty(PLACEHOLDER);
  const contents = new Map<string, Buffer>();
  for (const [path, content] of files) {
    const segments = path.split('/');
    const name = segments.pop() ?? '';
    const checksum = String(contents.size).padStart(64, '0');
    contents.set(checksum, content);
    segments
      .reduce((directory, segment) => directory.ensureDirectory(segment, PLACEHOLDER), root)
      .setFile(name, checksum);
  }
  const header = { uid: 0, gid: 0, mode: S_IFREG | 0o644, symlinkTarget: '', xattrs: NO_XATTRS };
  const openFile = (checksum: string) => {
    const content = contents.get(checksum) ?? Buffer.alloc(0);
    return {
      header,
      size: content.length,
      readAll: () => Buffer.from(content),
      [Symbol.dispose]: () => undefined,
    };
  };
  return readPackageDatabases(new TreePaths({ openFile }, root)).packages;
}
