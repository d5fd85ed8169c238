/**
 * Imports an ordinary container layer as the tree of a commit of its own, whiteouts included: the merge applies them.
 *
 * Source: ostree-rs-ext, "ostree-container" format: import of derived layers; ostree-commit(1), `--tree=tar`.
 */
import { encodeDirectoryMetadata } from '../objects/dirmeta.ts';
import { S_IFDIR, S_IFREG, SYMLINK_MODE } from '../objects/file-header.ts';
import { canonicalXattrs, NO_XATTRS, type Xattr } from '../objects/xattrs.ts';
import { withLabel } from '../selinux/label-xattr.ts';
import { TreeDirectory, type TreeReference } from '../tree/tree-directory.ts';
import { ContentWriter } from './content-writer.ts';
import { markDirectories } from './directory-marks.ts';
import { DerivedFilter, type DerivedFilterOptions, type FilterDecision } from './derived-filter.ts';
import { EntryLimit } from './entry-limit.ts';
import { ImportError } from './errors.ts';
import type { Labeller } from './image-labels.ts';
import type { ObjectSink } from './object-sink.ts';
import { requireStorableTarget, requireStorableXattrs } from './storable.ts';
import type { TarEntry } from './tar-header.ts';
import type { TarConsumer } from './tar-reader.ts';

/** Of what is dropped, names are kept for a person to read; the others are counted together. */
const MAX_DROPPED_NAMES = 20;
const OTHER_NAMES = 'others';

/** What a directory that no entry describes gets, with the owner of the entry that needed it. */
const IMPLIED_DIRECTORY_MODE = 0o755;

interface Owner {
  readonly uid: number;
  readonly gid: number;
}

interface UnresolvedLink {
  readonly path: string;
  readonly target: string;
  readonly owner: Owner;
}

/** A layer as a tree. */
export interface DerivedTree extends TreeReference {
  /** For the layer commit's metadata: see DIRECTORY_MARKS_KEY. */
  readonly directoryMarks: string;
}

/** Consumes one layer; `finish` after the archive's end. */
export class DerivedLayer implements TarConsumer {
  readonly #sink: ObjectSink;
  readonly #filter: DerivedFilter;
  readonly #labels: Labeller | undefined;
  readonly #content: ContentWriter;
  readonly #dropped = new Map<string, number>();
  readonly #setAside = new Map<string, string>();
  readonly #unresolvedLinks: UnresolvedLink[] = [];
  /** Directories with an entry of their own. */
  readonly #explicit = new Set<TreeDirectory>();
  #root: TreeDirectory | undefined;
  /** Its tree is held in memory, some 270 bytes for each. */
  readonly #entries: EntryLimit;
  /** What to do with the content object that is being written. */
  #complete: ((checksum: string) => void) | undefined;

  constructor(sink: ObjectSink, options: DerivedFilterOptions, labels?: Labeller, maxEntries?: number) {
    this.#sink = sink;
    this.#entries = new EntryLimit('files and directories', maxEntries);
    this.#labels = labels;
    this.#filter = new DerivedFilter(options);
    this.#content = new ContentWriter(sink);
  }

  entry(entry: TarEntry): void {
    this.#complete = undefined;
    const decision = this.#filter.decide(entry);
    if (decision.kind !== 'drop') this.#entries.count();
    switch (decision.kind) {
      case 'drop':
        if (decision.countedAs !== undefined) this.#countDropped(decision.countedAs);
        break;
      case 'set-aside':
        // Its path is that of a link still to come, and its label with it.
        this.#beginFile(entry, xattrsOf(entry), (checksum) => this.#setAside.set(decision.key, checksum));
        break;
      case 'restore': {
        const checksum = this.#setAside.get(decision.key);
        if (checksum !== undefined) this.#placeFile(decision.path, checksum, entry);
        break;
      }
      case 'keep':
        this.#keep(entry, decision);
        break;
    }
  }

  data(bytes: Buffer): void {
    if (this.#complete !== undefined) this.#content.write(bytes);
  }

  entryEnd(): void {
    const complete = this.#complete;
    this.#complete = undefined;
    complete?.(this.#content.finish());
  }

  /** Drops a file that is half-written. */
  abort(): void {
    this.#content.abort();
  }

  /** How many entries were dropped, by toplevel directory. */
  get dropped(): ReadonlyMap<string, number> {
    return this.#dropped;
  }

  /** Resolves the remaining hardlinks, writes the tree, and returns it. @throws {ImportError} `InvalidLayer` */
  finish(): DerivedTree {
    this.#resolveLinks();
    const root = this.#ensureRoot({ uid: 0, gid: 0 });
    return { ...root.write(this.#sink), directoryMarks: markDirectories(root, this.#explicit) };
  }

  #countDropped(name: string): void {
    const known = this.#dropped.has(name) || this.#dropped.size < MAX_DROPPED_NAMES;
    const countedAs = known ? name : OTHER_NAMES;
    this.#dropped.set(countedAs, (this.#dropped.get(countedAs) ?? 0) + 1);
  }

  #keep(entry: TarEntry, decision: Extract<FilterDecision, { kind: 'keep' }>): void {
    const { path } = decision;
    switch (entry.type) {
      case 'file':
        this.#beginFile(entry, this.#labelled(path, S_IFREG, xattrsOf(entry)), (checksum) =>
          this.#placeFile(path, checksum, entry),
        );
        break;
      case 'symlink': {
        requireStorableTarget(path, entry.linkPath);
        const { uid, gid } = entry;
        const xattrs = this.#labelled(path, SYMLINK_MODE, xattrsOf(entry));
        const header = { uid, gid, mode: SYMLINK_MODE, symlinkTarget: entry.linkPath, xattrs };
        this.#placeFile(path, this.#sink.writeSymlink(header), entry);
        break;
      }
      case 'directory':
        this.#placeDirectory(path, entry);
        break;
      case 'hardlink':
        this.#placeLink(path, decision.linkTarget ?? '', entry);
        break;
      case 'character-device':
      case 'block-device':
      case 'fifo':
        throw new ImportError(
          'InvalidLayer',
          `${entry.path} is a ${entry.type}; an OSTree commit holds only files, directories and symbolic links`,
        );
    }
  }

  #beginFile(entry: TarEntry, xattrs: readonly Xattr[], complete: (checksum: string) => void): void {
    const { uid, gid } = entry;
    const header = { uid, gid, mode: S_IFREG | entry.mode, symlinkTarget: '', xattrs };
    this.#content.begin(header, entry.size);
    this.#complete = complete;
  }

  #placeFile(path: string, checksum: string, owner: Owner): void {
    const { parent, name } = this.#locate(path, owner);
    parent.setFile(name, checksum);
  }

  #placeDirectory(path: string, entry: TarEntry): void {
    const dirmeta = this.#directoryMetadata(path, entry, entry.mode, xattrsOf(entry));
    if (path === '') {
      this.#ensureRoot(entry).dirmeta = dirmeta;
      this.#explicit.add(this.#ensureRoot(entry));
      return;
    }
    const { parent, name } = this.#locate(path, entry);
    const directory = parent.ensureDirectory(name, dirmeta);
    directory.dirmeta = dirmeta;
    this.#explicit.add(directory);
  }

  #placeLink(path: string, target: string, owner: Owner): void {
    const checksum = this.#root?.lookup(target);
    if (typeof checksum === 'string') this.#placeFile(path, checksum, owner);
    else this.#unresolvedLinks.push({ path, target, owner });
  }

  /** A link may come before what it links to, even if that is a link itself. Each is followed once. */
  #resolveLinks(): void {
    const unresolved = new Map(this.#unresolvedLinks.map((link) => [link.path, link]));
    for (const start of this.#unresolvedLinks) {
      const chain: UnresolvedLink[] = [];
      for (let link = unresolved.get(start.path); link !== undefined; link = unresolved.get(link.target)) {
        // Out of the map, so that a circle ends.
        unresolved.delete(link.path);
        chain.push(link);
      }
      for (const { path, target, owner } of chain.reverse()) {
        const checksum = this.#root?.lookup(target);
        if (typeof checksum !== 'string') {
          throw new ImportError('InvalidLayer', `hardlink ${path} points to ${target}, which the layer lacks`);
        }
        this.#placeFile(path, checksum, owner);
      }
    }
  }

  #locate(path: string, owner: Owner): { parent: TreeDirectory; name: string } {
    const segments = path.split('/');
    const name = segments.pop() ?? '';
    let parent = this.#ensureRoot(owner);
    let parentPath = '';
    for (const segment of segments) {
      parentPath += `/${segment}`;
      if (parent.files.has(segment)) {
        throw new ImportError('InvalidLayer', `${path} lies below ${segment}, which the layer has as a file or link`);
      }
      const existing = parent.directories.get(segment);
      if (existing === undefined) this.#entries.count();
      parent = existing ?? parent.ensureDirectory(segment, this.#impliedDirectoryMetadata(parentPath.slice(1), owner));
    }
    if (name === '') throw new ImportError('InvalidLayer', 'the root of the layer is not a directory');
    return { parent, name };
  }

  #ensureRoot(owner: Owner): TreeDirectory {
    this.#root ??= TreeDirectory.empty(this.#impliedDirectoryMetadata('', owner));
    return this.#root;
  }

  #impliedDirectoryMetadata(path: string, owner: Owner): string {
    return this.#directoryMetadata(path, owner, IMPLIED_DIRECTORY_MODE, NO_XATTRS);
  }

  #directoryMetadata(path: string, { uid, gid }: Owner, permissions: number, given: readonly Xattr[]): string {
    const mode = S_IFDIR | permissions;
    const xattrs = this.#labelled(path, mode, given);
    return this.#sink.writeMetadata('dirmeta', encodeDirectoryMetadata({ uid, gid, mode, xattrs }));
  }

  /** A hardlink shares the label of the first path; if it needs one of its own, the merge gives it. */
  #labelled(path: string, mode: number, xattrs: readonly Xattr[]): readonly Xattr[] {
    const label = this.#labels?.lookup(`/${path}`, mode);
    return label === undefined ? xattrs : withLabel(xattrs, label);
  }
}

function xattrsOf(entry: TarEntry): readonly Xattr[] {
  if (entry.xattrs.size === 0) return NO_XATTRS;
  const xattrs = canonicalXattrs(Array.from(entry.xattrs, ([name, value]) => ({ name, value })));
  requireStorableXattrs(entry.path, xattrs);
  return xattrs;
}
