/**
 * A directory of a commit that can be changed in memory and written back as objects. Only the directories that are
 * looked into are read, and only those that changed are written, so that changing a few files of an operating system
 * costs as much as those files do.
 */
import { compareNames } from '../objects/name-order.ts';
import { assertEntryName, encodeDirtree, type Dirtree, type DirtreeDirectory } from '../objects/dirtree.ts';
import { assertChecksum, type MetadataType } from '../objects/object-name.ts';

/** Where the directories of a tree are read from: a Repository. */
export interface TreeSource {
  readDirtree(checksum: string): Dirtree;
}

/** Where changed directories are written to: a Transaction. */
export interface TreeTarget {
  writeMetadata(type: MetadataType, bytes: Buffer): string;
}

/** What names a directory with all that is in it. A commit's root is one. */
export interface TreeReference {
  readonly dirtree: string;
  readonly dirmeta: string;
}

interface Content {
  readonly files: Map<string, string>;
  readonly directories: Map<string, TreeDirectory>;
}

export class TreeDirectory {
  /** Checksum of the dirmeta object: owner, mode and attributes of this directory. */
  dirmeta: string;
  #content: Content | undefined;
  readonly #source: TreeSource | undefined;
  /** Checksum of the dirtree object that the directory is equal to, unless it has been changed. */
  #stored: string | undefined;
  /** What the stored dirtree of the parent says about this directory. */
  #recorded: TreeReference | undefined;

  private constructor(dirmeta: string, source: TreeSource | undefined, stored: string | undefined) {
    this.dirmeta = dirmeta;
    this.#source = source;
    this.#stored = stored;
  }

  /** The directory that is stored under `reference`. Nothing is read before it is looked into. */
  static load(source: TreeSource, reference: TreeReference): TreeDirectory {
    return new TreeDirectory(reference.dirmeta, source, reference.dirtree);
  }

  /** An empty directory. */
  static empty(dirmeta: string): TreeDirectory {
    assertChecksum(dirmeta);
    const directory = new TreeDirectory(dirmeta, undefined, undefined);
    directory.#content = { files: new Map(), directories: new Map() };
    return directory;
  }

  /** Names and checksums of the files and symbolic links. */
  get files(): ReadonlyMap<string, string> {
    return this.#load().files;
  }

  get directories(): ReadonlyMap<string, TreeDirectory> {
    return this.#load().directories;
  }

  /** Puts a file, in place of whatever has that name. */
  setFile(name: string, checksum: string): void {
    assertEntryName(name);
    assertChecksum(checksum);
    const { files, directories } = this.#load();
    if (files.get(name) === checksum) return;
    directories.delete(name);
    files.set(name, checksum);
    this.#stored = undefined;
  }

  /** Puts a directory, in place of whatever has that name. A directory belongs into one place of one tree. */
  setDirectory(name: string, directory: TreeDirectory): void {
    assertEntryName(name);
    const { files, directories } = this.#load();
    files.delete(name);
    directories.set(name, directory);
    this.#stored = undefined;
  }

  /** The subdirectory of that name. If there is none, puts an empty one, in place of a file of that name. */
  ensureDirectory(name: string, dirmeta: string): TreeDirectory {
    const existing = this.directories.get(name);
    if (existing !== undefined) return existing;
    const created = TreeDirectory.empty(dirmeta);
    this.setDirectory(name, created);
    return created;
  }

  /** Removes the file, or the directory with all that is in it. Returns whether there was one. */
  remove(name: string): boolean {
    const { files, directories } = this.#load();
    const removed = files.delete(name) || directories.delete(name);
    if (removed) this.#stored = undefined;
    return removed;
  }

  /** What lies at a relative path such as `usr/etc/hostname`: a checksum for a file, or undefined for nothing. */
  lookup(path: string): string | TreeDirectory | undefined {
    return follow(this, path);
  }

  /** All files below, with their paths relative to this directory, in the order of dirtree objects. */
  *walkFiles(prefix = ''): Generator<{ readonly path: string; readonly checksum: string }> {
    const { files, directories } = this.#load();
    for (const [name, checksum] of sorted(files)) yield { path: `${prefix}${name}`, checksum };
    for (const [name, directory] of sorted(directories)) yield* directory.walkFiles(`${prefix}${name}/`);
  }

  /** Writes this directory and those below it as far as they changed. Returns what names the whole. */
  write(target: TreeTarget): TreeReference {
    const content = this.#content;
    if (content === undefined) return { dirtree: this.#requireStored(), dirmeta: this.dirmeta };
    const directories: DirtreeDirectory[] = [];
    for (const [name, directory] of content.directories) {
      const reference = directory.write(target);
      if (!sameReference(directory.#recorded, reference)) this.#stored = undefined;
      directory.#recorded = reference;
      directories.push({ name, ...reference });
    }
    if (this.#stored === undefined) {
      const files = Array.from(content.files, ([name, checksum]) => ({ name, checksum }));
      this.#stored = target.writeMetadata('dirtree', encodeDirtree({ files, directories }));
    }
    return { dirtree: this.#stored, dirmeta: this.dirmeta };
  }

  #load(): Content {
    if (this.#content !== undefined) return this.#content;
    const { files, directories } = this.#source?.readDirtree(this.#requireStored()) ?? { files: [], directories: [] };
    this.#content = {
      files: new Map(files.map(({ name, checksum }) => [name, checksum])),
      directories: new Map(
        directories.map(({ name, ...reference }) => {
          const directory = new TreeDirectory(reference.dirmeta, this.#source, reference.dirtree);
          directory.#recorded = reference;
          return [name, directory];
        }),
      ),
    };
    return this.#content;
  }

  #requireStored(): string {
    if (this.#stored === undefined) throw new Error('a directory that is not in memory has no checksum');
    return this.#stored;
  }
}

/** A loop, not a recursion: paths from strangers may be as deep as they like. */
function follow(root: TreeDirectory, path: string): string | TreeDirectory | undefined {
  const segments = path.split('/').filter((segment) => segment !== '' && segment !== '.');
  const name = segments.pop();
  if (name === undefined) return root;
  let directory: TreeDirectory | undefined = root;
  for (const segment of segments) directory = directory?.directories.get(segment);
  return directory?.files.get(name) ?? directory?.directories.get(name);
}

function sorted<Value>(entries: ReadonlyMap<string, Value>): readonly [string, Value][] {
  return Array.from(entries).sort(([a], [b]) => compareNames(a, b));
}

function sameReference(a: TreeReference | undefined, b: TreeReference): boolean {
  return a?.dirtree === b.dirtree && a.dirmeta === b.dirmeta;
}
