/**
 * The tar stream of an ordinary container layer: the tree of a layer commit, whiteouts included, as a container build
 * had made it. The inverse of the import of a derived layer.
 */
import { isSymlink, S_IFMT } from '../objects/file-header.ts';
import type { DirectoryMetadata } from '../objects/dirmeta.ts';
import type { Xattr } from '../objects/xattrs.ts';
import type { Repository } from '../repository/repository.ts';
import { TreeDirectory, type TreeReference } from '../tree/tree-directory.ts';
import { gathered, scratchBuffer, type TarPiece } from './gathered.ts';
import { containerPath, fileContent, SELINUX_XATTR } from './repository-entries.ts';
import { encodePaxXattrs, encodeTarEntry, TAR_END } from './tar-entry.ts';

export interface TreeLayerOptions {
  /** Whether to carry SELinux labels: not where an import computes them from the image's own policy. */
  readonly labels: boolean;
  /** Whether a directory stands in the layer itself, rather than being implied by what is in it. */
  readonly carries: (path: string, directory: DirectoryMetadata) => boolean;
}

interface Writing {
  readonly repository: Repository;
  readonly options: TreeLayerOptions;
  /** Where each file of which there is more than one was written first. */
  readonly written: Map<string, string>;
  readonly scratch: Buffer;
}

/**
 * Streams the layer, in pieces that are valid until the next one. Paths of `carries` are those of the commit: `usr/etc`, not
 * `etc`; of the root it is empty.
 */
export function treeLayer(
  repository: Repository,
  root: TreeReference,
  options: TreeLayerOptions,
): AsyncIterable<Buffer> {
  const writing: Writing = { repository, options, written: new Map(), scratch: scratchBuffer() };
  return gathered(layerPieces(TreeDirectory.load(repository, root), writing));
}

function* layerPieces(root: TreeDirectory, writing: Writing): Generator<TarPiece> {
  yield* directory(root, '', writing);
  yield TAR_END;
}

function* directory(tree: TreeDirectory, path: string, writing: Writing): Generator<TarPiece> {
  const { repository, options } = writing;
  const metadata = repository.readDirectoryMetadata(tree.dirmeta);
  if (options.carries(path, metadata)) {
    const { uid, gid, mode, xattrs } = metadata;
    yield encodePaxXattrs(carried(xattrs, options));
    yield encodeTarEntry({ type: 'directory', path: containerPath(path) || './', mode: mode & ~S_IFMT, uid, gid });
  }
  const prefix = path === '' ? '' : `${path}/`;
  for (const [name, checksum] of tree.files) {
    yield* file(checksum, containerPath(`${prefix}${name}`), writing);
  }
  for (const [name, child] of tree.directories) yield* directory(child, `${prefix}${name}`, writing);
}

function* file(checksum: string, path: string, writing: Writing): Generator<TarPiece> {
  const { repository, options, written, scratch } = writing;
  using stored = repository.openFile(checksum);
  const { header, size } = stored;
  const ownership = { mode: header.mode & ~S_IFMT, uid: header.uid, gid: header.gid };
  const first = written.get(checksum);
  if (first !== undefined) {
    yield encodeTarEntry({ type: 'hardlink', path, ...ownership, target: first });
    return;
  }
  yield encodePaxXattrs(carried(header.xattrs, options));
  if (isSymlink(header)) {
    yield encodeTarEntry({ type: 'symlink', path, ...ownership, target: header.symlinkTarget });
    return;
  }
  // Whiteouts are empty files, and must not become links.
  if (size > 0) written.set(checksum, path);
  yield encodeTarEntry({ type: 'file', path, ...ownership, size });
  yield* fileContent(stored, scratch);
}

function carried(xattrs: readonly Xattr[], { labels }: TreeLayerOptions): readonly Xattr[] {
  return labels ? xattrs : xattrs.filter(({ name }) => name !== SELINUX_XATTR);
}
