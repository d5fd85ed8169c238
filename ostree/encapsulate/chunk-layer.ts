/** The tar stream of a layer that carries part of a commit's content objects. Source: ostree-container format, chunks. */
import { S_IFMT } from '../objects/file-header.ts';
import type { Repository } from '../repository/repository.ts';
import { type TreeReference, TreeDirectory } from '../tree/tree-directory.ts';
import type { CommitContent } from './commit-content.ts';
import { gathered, scratchBuffer, type TarPiece } from './gathered.ts';
import { containerPath, contentObject, repositorySkeleton } from './repository-entries.ts';
import { encodeTarEntry, TAR_END } from './tar-entry.ts';

/** 2: each layer also says whose the directories of its files are, for tools that apply layers one by one. */
export type FormatVersion = 1 | 2;

export interface ChunkLayerOptions {
  /** Default: 1. Source: rpm-ostree, `compose container-encapsulate --format-version`. */
  readonly formatVersion?: FormatVersion | undefined;
  /** The root of the commit, which version 2 takes directories from. */
  readonly root: TreeReference;
  /** Called after each object. */
  readonly onObject?: (() => void) | undefined;
}

/** Streams a layer with `objects`, each with its paths in `content`, in pieces that are valid until the next one. */
export function chunkLayer(
  repository: Repository,
  objects: Iterable<string>,
  content: CommitContent,
  options: ChunkLayerOptions,
): AsyncIterable<Buffer> {
  return gathered(layerPieces(repository, objects, content, options));
}

function* layerPieces(
  repository: Repository,
  objects: Iterable<string>,
  content: CommitContent,
  options: ChunkLayerOptions,
): Generator<TarPiece> {
  yield repositorySkeleton();
  const scratch = scratchBuffer();
  const parents = options.formatVersion === 2 ? new ParentDirectories(repository, options.root) : undefined;
  for (const checksum of [...objects].sort()) {
    const paths = content.get(checksum) ?? [];
    if (parents !== undefined) for (const path of paths) yield* parents.before(path);
    yield* contentObject(repository, checksum, paths, scratch);
    options.onObject?.();
  }
  yield TAR_END;
}

/** The directories that lead to files, each once, the outer ones first. */
class ParentDirectories {
  readonly #repository: Repository;
  readonly #root: TreeDirectory;
  readonly #written = new Set<string>();

  constructor(repository: Repository, root: TreeReference) {
    this.#repository = repository;
    this.#root = TreeDirectory.load(repository, root);
  }

  *before(path: string): Generator<Buffer> {
    const last = path.lastIndexOf('/');
    const parent = last < 0 ? '' : path.slice(0, last);
    if (parent === '' || this.#written.has(parent)) return;
    // In a container it is at the top.
    if (parent !== 'usr/etc') yield* this.before(parent);
    this.#written.add(parent);
    const found = this.#root.lookup(parent);
    if (!(found instanceof TreeDirectory)) throw new TypeError(`${parent} is no directory of the commit`);
    const { uid, gid, mode } = this.#repository.readDirectoryMetadata(found.dirmeta);
    yield encodeTarEntry({ type: 'directory', path: containerPath(parent), mode: mode & ~S_IFMT, uid, gid });
  }
}
