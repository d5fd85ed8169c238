/**
 * What becomes of each entry of a derived (ordinary container) layer: kept under its OSTree path, dropped, or joined
 * with a file that the container build modified through a hardlink into the base's object store.
 *
 * Decisions depend on tar headers alone, so the rules can be tested as a table.
 * Source: ostree-rs-ext, "ostree-container" format: import of derived layers.
 */
import { ImportError } from './errors.ts';
import { requireStorablePath } from './storable.ts';
import type { TarEntry } from './tar-header.ts';

export interface DerivedFilterOptions {
  /** Keep toplevels other than usr, etc and var: for hosts whose root is transient or a composefs. */
  readonly allowNonUsr: boolean;
  /** Keep /var in the commit (libostree 2024.3 and later); otherwise it becomes /usr/share/factory/var. */
  readonly retainVar: boolean;
}

export type FilterDecision =
  /** Store at `path` (relative, normalised; empty for the root). `linkTarget` is set for hardlinks. */
  | { readonly kind: 'keep'; readonly path: string; readonly linkTarget?: string }
  /** Remember content and metadata under `key`: a later link may make it a file of the image. */
  | { readonly kind: 'set-aside'; readonly key: string }
  /** Store what was set aside under `key` at `path`. */
  | { readonly kind: 'restore'; readonly path: string; readonly key: string }
  /** Drop. `countedAs` names the toplevel, or the child of a runtime directory, for the person who wonders. */
  | { readonly kind: 'drop'; readonly countedAs?: string };

/** Directories that exist in the image but are populated at run time only. */
const RUNTIME_TOPLEVELS: ReadonlySet<string> = new Set(['run', 'tmp', 'proc', 'sys', 'dev']);
const OBJECT_STORE = 'sysroot/ostree/repo/';

/** Decides about the entries of one layer, in archive order. */
export class DerivedFilter {
  readonly #options: DerivedFilterOptions;
  readonly #setAside = new Set<string>();
  /** Object path in the base's store → where its first link put it. */
  readonly #restored = new Map<string, string>();

  constructor(options: DerivedFilterOptions) {
    this.#options = options;
  }

  /** @throws {ImportError} `InvalidLayer` for a path with `..`, or one that is too long for any host. */
  decide(entry: TarEntry): FilterDecision {
    const path = normalise(entry.path);
    // Overlay diffs show an object of the base's store with a fresh mtime once a build has written through it.
    const modified = entry.mtime > 0;
    if (path.startsWith(OBJECT_STORE)) {
      if (modified && entry.type === 'file') {
        this.#setAside.add(path);
        return { kind: 'set-aside', key: path };
      }
    } else if (modified && entry.type === 'hardlink') {
      const target = normalise(entry.linkPath);
      if (target.startsWith(OBJECT_STORE)) return this.#relink(path, target);
    }
    const mapped = mapPath(path, this.#options);
    if (mapped.kind === 'drop') return mapped;
    requireStorablePath(mapped.path);
    if (entry.type !== 'hardlink') return mapped;
    const target = mapPath(normalise(entry.linkPath), this.#options);
    if (target.kind === 'drop') {
      throw new ImportError(
        'InvalidLayer',
        `hardlink ${entry.path} points to ${entry.linkPath}, which cannot be part of an OSTree commit`,
      );
    }
    return { ...mapped, linkTarget: target.path };
  }

  #relink(path: string, target: string): FilterDecision {
    const mapped = mapPath(path, this.#options);
    if (mapped.kind === 'drop') return mapped;
    requireStorablePath(mapped.path);
    const first = this.#restored.get(target);
    if (first !== undefined) return { kind: 'keep', path: mapped.path, linkTarget: first };
    // A link to an object that this layer did not modify adds nothing to what the base has.
    if (!this.#setAside.has(target)) return { kind: 'drop' };
    this.#restored.set(target, mapped.path);
    return { kind: 'restore', path: mapped.path, key: target };
  }
}

type MappedPath =
  | { readonly kind: 'keep'; readonly path: string }
  | { readonly kind: 'drop'; readonly countedAs: string };

function mapPath(path: string, options: DerivedFilterOptions): MappedPath {
  if (path === '') return { kind: 'keep', path };
  const slash = path.indexOf('/');
  const toplevel = slash < 0 ? path : path.slice(0, slash);
  switch (toplevel) {
    case 'usr':
      return { kind: 'keep', path };
    case 'etc':
      return { kind: 'keep', path: `usr/${path}` };
    case 'var':
      return { kind: 'keep', path: options.retainVar ? path : `usr/share/factory/${path}` };
    default:
  }
  if (RUNTIME_TOPLEVELS.has(toplevel)) {
    if (slash < 0) return { kind: 'keep', path };
    return { kind: 'drop', countedAs: path.slice(slash + 1).split('/', 1)[0] ?? toplevel };
  }
  return options.allowNonUsr ? { kind: 'keep', path } : { kind: 'drop', countedAs: toplevel };
}

/** Relative form without `.`, empty components and trailing slash. */
function normalise(path: string): string {
  // Most paths are already in that form; splitting every one of them would double the cost of a small entry.
  if (!/(^|\/)(\.{0,2})(\/|$)/.test(path)) return path;
  const parts: string[] = [];
  for (const part of path.split('/')) {
    if (part === '' || part === '.') continue;
    if (part === '..') throw new ImportError('InvalidLayer', `tar entry ${path} has '..' in its path`);
    parts.push(part);
  }
  return parts.join('/');
}
