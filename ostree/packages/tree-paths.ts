/**
 * Where in a commit a path of a package database lies. Databases name paths as they were when the package was unpacked:
 * `/bin/sh`, though `/bin` has become a link to `usr/bin`; `/etc/hosts`, which a commit keeps below `usr/etc`; and
 * `/boot/vmlinuz-VERSION`, which OSTree wants beside the kernel's modules.
 */
import { isSymlink } from '../objects/file-header.ts';
import type { StoredFile } from '../repository/stored-file.ts';
import { TreeDirectory } from '../tree/tree-directory.ts';

/** Where the content of files is read from: a Repository. */
export interface FileSource {
  openFile(checksum: string): Pick<StoredFile, 'header' | 'size' | 'readAll' | typeof Symbol.dispose>;
}

/** As the kernel allows in one path (path_resolution(7)). */
const MAX_LINKS = 40;
const KERNEL_FILES = /^boot\/(vmlinuz|config|System\.map|symvers)-([^/]+)$/;

/** A directory of the commit, with its path free of links. */
export interface ResolvedDirectory {
  /** Empty for the root. */
  readonly path: string;
  readonly directory: TreeDirectory;
}

export class TreePaths {
  readonly source: FileSource;
  readonly root: TreeDirectory;
  readonly #directories = new Map<string, ResolvedDirectory | undefined>();

  constructor(source: FileSource, root: TreeDirectory) {
    this.source = source;
    this.root = root;
  }

  /**
   * The path in the commit of the file, link or directory that a database calls `path`, or undefined if there is none.
   * Links are followed on the way, not at the end.
   */
  locate(path: string): string | undefined {
    return this.#locate(path) ?? this.#locateKernelFile(path);
  }

  /** The directory at `path`, following links also at the end. */
  resolveDirectory(path: string): ResolvedDirectory | undefined {
    if (this.#directories.has(path)) return this.#directories.get(path);
    const found = this.#walk(path.split('/').filter(meaningful));
    this.#directories.set(path, found);
    return found;
  }

  /** The checksum of the regular file at `path`, following links. */
  resolveFile(path: string): string | undefined {
    let current = path;
    for (let links = 0; links <= MAX_LINKS; links++) {
      const { parent, name } = splitPath(current);
      const found = this.resolveDirectory(parent);
      const checksum = found?.directory.files.get(name);
      if (found === undefined || checksum === undefined) return undefined;
      const target = this.#linkTarget(checksum);
      if (target === undefined) return checksum;
      current = target.startsWith('/') ? target : `${found.path}/${target}`;
      // The rest of the way may go through `..`, which splitPath does not see.
      if (/(?:^|\/)\.\.?$/.test(current)) return undefined;
    }
    return undefined;
  }

  /** The content of the regular file at `path`, following links; undefined if there is none. Throws what `refuse` gives for a larger one. */
  readFile(path: string, maxBytes: number, refuse: (size: number) => Error): Buffer | undefined {
    const checksum = this.resolveFile(path);
    if (checksum === undefined) return undefined;
    using file = this.source.openFile(checksum);
    if (file.size > maxBytes) throw refuse(file.size);
    return file.readAll();
  }

  #locate(path: string): string | undefined {
    const { parent, name } = splitPath(path);
    const found = this.resolveDirectory(parent);
    if (found === undefined || name === '') return undefined;
    const { directory, path: prefix } = found;
    const own = this.#entry(prefix, directory, name);
    return own === undefined ? undefined : prefix === '' ? own : `${prefix}/${own}`;
  }

  #locateKernelFile(path: string): string | undefined {
    const [, kind, version] = KERNEL_FILES.exec(path) ?? [];
    return kind === undefined ? undefined : this.#locate(`usr/lib/modules/${version}/${kind}`);
  }

  /** What `name` is called in the directory, if it is there: `etc` of the root is `usr/etc` in a commit. */
  #entry(prefix: string, directory: TreeDirectory, name: string): string | undefined {
    if (directory.files.has(name) || directory.directories.has(name)) return name;
    if (prefix === '' && name === 'etc' && this.root.lookup('usr/etc') instanceof TreeDirectory) return 'usr/etc';
    return undefined;
  }

  #walk(segments: string[]): ResolvedDirectory | undefined {
    const ancestors: ResolvedDirectory[] = [];
    let current: ResolvedDirectory = { path: '', directory: this.root };
    const waiting = segments.reverse();
    for (let links = 0; ;) {
      const name = waiting.pop();
      if (name === undefined) return current;
      if (name === '..') {
        current = ancestors.pop() ?? current;
        continue;
      }
      const entry = this.#entry(current.path, current.directory, name);
      if (entry === undefined) return undefined;
      if (entry !== name) {
        waiting.push(...entry.split('/').reverse());
        continue;
      }
      const child = current.directory.directories.get(name);
      if (child !== undefined) {
        ancestors.push(current);
        current = { path: current.path === '' ? name : `${current.path}/${name}`, directory: child };
        continue;
      }
      const target = this.#linkTarget(current.directory.files.get(name) ?? '');
      if (target === undefined || ++links > MAX_LINKS) return undefined;
      if (target.startsWith('/')) {
        ancestors.length = 0;
        current = { path: '', directory: this.root };
      }
      waiting.push(...target.split('/').filter(meaningful).reverse());
    }
  }

  #linkTarget(checksum: string): string | undefined {
    using file = this.source.openFile(checksum);
    return isSymlink(file.header) ? file.header.symlinkTarget : undefined;
  }
}

function meaningful(segment: string): boolean {
  return segment !== '' && segment !== '.';
}

function splitPath(path: string): { parent: string; name: string } {
  const at = path.lastIndexOf('/');
  return { parent: path.slice(0, Math.max(at, 0)), name: path.slice(at + 1) };
}
