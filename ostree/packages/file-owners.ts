/**
 * Which package each file of a tree belongs to. Beside what packages list, some of what nobody lists is theirs all the
 * same: what their scripts have generated in a directory that is theirs alone, such as the index of a kernel's modules.
 */
import type { InstalledPackage } from './installed-package.ts';
import type { TreePaths } from './tree-paths.ts';

/** Directories nearer to the root (`usr/bin`, `usr/lib`) are everybody's, even if only one package is installed. */
const MIN_OWN_DIRECTORY_DEPTH = 3;
/** What lies there unlisted was written by scripts of other packages (alternatives, units that are enabled), or by people. */
const CONFIGURATION = 'usr/etc/';
/** Where image builders keep databases, and copies of them. */
const SYSTEM_IMAGE = 'usr/lib/sysimage';
/** Of it each kernel has a directory of its own. */
const MODULES = 'usr/lib/modules';

/** Files that are generated from all that lies in a directory elsewhere: they change with that. */
const GENERATED_FROM: Readonly<Record<string, string>> = {
  'usr/lib/udev/hwdb.bin': 'usr/lib/udev/hwdb.d',
  'usr/etc/udev/hwdb.bin': 'usr/lib/udev/hwdb.d',
};

/** A package that is to own files, by the name of its component. */
export interface Owner {
  readonly name: string;
  readonly packages: readonly InstalledPackage[];
}

interface Below<One extends Owner> {
  /** The source package of all that is packaged below; undefined for several. */
  source: string | undefined;
  owner: One;
}

export class FileOwners<One extends Owner> {
  readonly #listed = new Map<string, One>();
  readonly #below = new Map<string, Below<One>>();
  readonly #databases: readonly string[];

  /** @param databases directories of package databases: what they hold about all packages belongs to none */
  constructor(paths: TreePaths, owners: readonly One[], databases: readonly string[]) {
    this.#databases = [...databases, SYSTEM_IMAGE].map((directory) => `${directory}/`);
    for (const owner of owners) {
      for (const { source, files, records } of owner.packages) {
        for (const file of files) {
          const path = paths.locate(file);
          if (path === undefined) continue;
          this.#list(path, owner);
          this.#markBelow(path, source, owner);
        }
        for (const record of records) this.#listed.set(record, owner);
      }
    }
  }

  /** The owner by the package's own list; of several, the one whose name comes first. */
  listedOwner(path: string): One | undefined {
    return this.#listed.get(path);
  }

  /** Whether the path is part of a package database, which changes with every package. */
  isDatabase(path: string): boolean {
    return this.#databases.some((directory) => path.startsWith(directory));
  }

  /** The owner of a file that no package lists, if everything packaged around it is of one source package. */
  directoryOwner(path: string): One | undefined {
    if (this.isDatabase(path)) return undefined;
    const source = GENERATED_FROM[path];
    if (source === undefined && path.startsWith(CONFIGURATION)) return undefined;
    const place = source === undefined ? path : `${source}/`;
    for (let at = place.lastIndexOf('/'); at > 0; at = place.lastIndexOf('/', at - 1)) {
      const directory = place.slice(0, at);
      const below = this.#below.get(directory);
      if (below === undefined) continue;
      const own = below.source !== undefined && depth(directory) >= MIN_OWN_DIRECTORY_DEPTH && directory !== MODULES;
      return own ? below.owner : undefined;
    }
    return undefined;
  }

  #list(path: string, owner: One): void {
    // A package may list the very database; it changes with every other package.
    if (this.isDatabase(path)) return;
    const known = this.#listed.get(path);
    if (known === undefined || owner.name < known.name) this.#listed.set(path, owner);
  }

  #markBelow(path: string, source: string, owner: One): void {
    for (
      let directory = path;
      directory !== '';
      directory = directory.slice(0, Math.max(directory.lastIndexOf('/'), 0))
    ) {
      const known = this.#below.get(directory);
      if (known === undefined) {
        this.#below.set(directory, { source, owner });
        continue;
      }
      const mixed = known.source !== source;
      const earlier = owner.name < known.owner.name;
      // What is so here is so in all directories above.
      if ((known.source === undefined || !mixed) && !earlier) return;
      if (mixed) known.source = undefined;
      if (earlier) known.owner = owner;
    }
  }
}

function depth(path: string): number {
  return path.split('/').length;
}
