/**
 * The tar stream that carries a whole commit in one layer: an OSTree repository under `sysroot/ostree/repo`, and beside
 * it the same files again under their real paths, as hard links, so that container tools see an ordinary file system.
 *
 * Source: ostree-container format, tar stream of the commit layer.
 */
import { decodeDirtree } from '../objects/dirtree.ts';
import { S_IFMT } from '../objects/file-header.ts';
import type { MetadataType } from '../objects/object-name.ts';
import type { Repository } from '../repository/repository.ts';
import { gathered, scratchBuffer, type TarPiece } from './gathered.ts';
import {
  containerPath,
  contentObject,
  objectPath,
  plainDirectory,
  repositorySkeleton,
  smallFile,
} from './repository-entries.ts';
import { encodeTarEntry, TAR_END } from './tar-entry.ts';

interface Contents {
  /** Content objects with the paths that each is found under; none for what lies in `/sysroot`. */
  readonly files: Map<string, string[]>;
  readonly written: Set<string>;
  /** The dirtree of `/sysroot`: it comes after all others, as the reference tools only carry it when it is one of those. */
  sysroot?: string;
  hasVarTmp: boolean;
}

export interface CommitLayerOptions {
  /** Content objects that other layers of the image carry. */
  readonly elsewhere?: ReadonlySet<string>;
  /** Called after each content object. */
  readonly onObject?: (() => void) | undefined;
}

/**
 * Streams the layer of `checksum`, in pieces that are valid until the next one. The same commit always gives the same bytes.
 * Memory grows with the number of files only.
 */
export function commitLayer(
  repository: Repository,
  checksum: string,
  options: CommitLayerOptions = {},
): AsyncIterable<Buffer> {
  return gathered(layerPieces(repository, checksum, options));
}

function* layerPieces(
  repository: Repository,
  checksum: string,
  { elsewhere, onObject }: CommitLayerOptions,
): Generator<TarPiece> {
  const commit = repository.readCommit(checksum);
  const contents: Contents = { files: new Map(), written: new Set(), hasVarTmp: false };
  const { uid, gid, mode } = repository.readDirectoryMetadata(commit.dirmeta);
  yield encodeTarEntry({ type: 'directory', path: './', mode: mode & ~S_IFMT, uid, gid });
  yield repositorySkeleton();
  yield* metadataObject(repository, 'commit', checksum, contents);
  const detached = repository.readDetachedMetadataBytes(checksum);
  if (detached !== undefined) yield* smallFile(objectPath(checksum, 'commitmeta'), detached);
  yield* metadataObject(repository, 'dirmeta', commit.dirmeta, contents);
  yield* directoryContents(repository, commit.dirtree, '', contents);
  // In the container /sysroot holds the repository; its own objects are carried all the same, without real paths:
  // lacking them the commit would be incomplete wherever it is imported.
  if (contents.sysroot !== undefined) yield* directoryContents(repository, contents.sysroot, undefined, contents);
  if (!contents.hasVarTmp) yield plainDirectory('var/tmp', 0o1777);
  const checksums = [...contents.files.keys()].filter((file) => elsewhere?.has(file) !== true).sort();
  const scratch = scratchBuffer();
  for (const file of checksums) {
    yield* contentObject(repository, file, contents.files.get(file) ?? [], scratch);
    onObject?.();
  }
  yield TAR_END;
}

function* metadataObject(
  repository: Repository,
  type: MetadataType,
  checksum: string,
  contents: Contents,
): Generator<Buffer> {
  const name = `${checksum}.${type}`;
  if (contents.written.has(name)) return;
  contents.written.add(name);
  yield* smallFile(objectPath(checksum, type), repository.readMetadata(type, checksum));
}

/** `path` is empty for the root, ends in a slash for other directories, and is undefined inside `/sysroot`. */
function* directoryContents(
  repository: Repository,
  checksum: string,
  path: string | undefined,
  contents: Contents,
): Generator<Buffer> {
  yield* metadataObject(repository, 'dirtree', checksum, contents);
  const { files, directories } = decodeDirtree(repository.readMetadata('dirtree', checksum));
  for (const file of files) {
    const paths = contents.files.get(file.checksum) ?? [];
    if (path !== undefined) paths.push(`${path}${file.name}`);
    contents.files.set(file.checksum, paths);
  }
  for (const { name, dirtree, dirmeta } of directories) {
    yield* metadataObject(repository, 'dirmeta', dirmeta, contents);
    if (path === '' && name === 'sysroot') {
      contents.sysroot = dirtree;
      continue;
    }
    const child = path === undefined ? undefined : `${path}${name}`;
    if (child !== undefined) {
      const { uid, gid, mode } = repository.readDirectoryMetadata(dirmeta);
      yield encodeTarEntry({ type: 'directory', path: containerPath(child), mode: mode & ~S_IFMT, uid, gid });
      if (child === 'var/tmp') contents.hasVarTmp = true;
    }
    yield* directoryContents(repository, dirtree, child === undefined ? undefined : `${child}/`, contents);
  }
}
