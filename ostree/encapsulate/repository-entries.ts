/**
 * What all layers with OSTree objects consist of: the skeleton of a repository, and each content object together with
 * hard links to it under its real paths.
 *
 * Source: ostree-container format, tar stream of layers.
 */
import { isSymlink, S_IFMT } from '../objects/file-header.ts';
import { looseObjectPath } from '../objects/object-name.ts';
import { encodeXattrs } from '../objects/xattrs.ts';
import type { Repository } from '../repository/repository.ts';
import type { StoredFile } from '../repository/stored-file.ts';
import type { TarPiece } from './gathered.ts';
import { encodePaxXattrs, encodeTarEntry, tarPadding, type TarEntry } from './tar-entry.ts';

const REPOSITORY = 'sysroot/ostree/repo';
const CONFIG = Buffer.from('[core]\nrepo_version=1\nmode=bare-split-xattrs\n');
const REPOSITORY_DIRECTORIES = [
  'extensions',
  'refs',
  'refs/heads',
  'refs/mirrors',
  'refs/remotes',
  'state',
  'tmp',
  'tmp/cache',
];
/** Container tools need no label of the build host; the deployment gets its own from the object. */
export const SELINUX_XATTR = 'security.selinux';

let skeleton: Buffer | undefined;

/** All directories of a repository, and its configuration. Each layer begins with it. */
export function repositorySkeleton(): Buffer {
  return (skeleton ??= Buffer.concat([...skeletonEntries()]));
}

function* skeletonEntries(): Generator<Buffer> {
  for (const path of ['sysroot', 'sysroot/ostree', REPOSITORY, `${REPOSITORY}/objects`]) yield plainDirectory(path);
  for (let prefix = 0; prefix < 256; prefix++) {
    yield plainDirectory(`${REPOSITORY}/objects/${prefix.toString(16).padStart(2, '0')}`);
  }
  for (const path of REPOSITORY_DIRECTORIES) yield plainDirectory(`${REPOSITORY}/${path}`);
  yield* smallFile(`${REPOSITORY}/config`, CONFIG);
}

/** A directory of root's. */
export function plainDirectory(path: string, mode = 0o755): Buffer {
  return encodeTarEntry({ type: 'directory', path, mode, uid: 0, gid: 0 });
}

/** A file of root's whose content is at hand. */
export function* smallFile(path: string, content: Buffer): Generator<Buffer> {
  yield encodeTarEntry({ type: 'file', path, mode: 0o644, uid: 0, gid: 0, size: content.length });
  yield content;
  yield tarPadding(content.length);
}

/** Where an object lies in the layer. */
export function objectPath(checksum: string, extension: string): string {
  return `${REPOSITORY}/objects/${looseObjectPath(checksum, extension)}`;
}

/** In a container, configuration lies where programs look for it. */
export function containerPath(path: string): string {
  return path === 'usr/etc' || path.startsWith('usr/etc/') ? path.slice('usr/'.length) : path;
}

/**
 * A content object, verified for its length only, with its paths in the commit. Each piece is valid until the next one.
 * @param scratch for content; what fits into it is read in one go
 */
export function* contentObject(
  repository: Repository,
  checksum: string,
  paths: readonly string[],
  scratch: Buffer,
): Generator<TarPiece> {
  using file = repository.openFile(checksum);
  const { header, size } = file;
  yield* smallFile(objectPath(checksum, 'file-xattrs-link'), encodeXattrs(header.xattrs));
  yield encodePaxXattrs(header.xattrs.filter(({ name }) => name !== SELINUX_XATTR));
  const object = objectPath(checksum, 'file');
  const ownership = { mode: header.mode & ~S_IFMT, uid: header.uid, gid: header.gid };
  if (isSymlink(header)) {
    yield encodeTarEntry({ type: 'symlink', path: object, ...ownership, target: header.symlinkTarget });
  } else {
    yield encodeTarEntry({ type: 'file', path: object, ...ownership, size });
    yield* fileContent(file, scratch);
  }
  // Container builds write into empty files that were meant to be mounted over: those must not share one object.
  const alone = !isSymlink(header) && size === 0;
  const link: Pick<TarEntry, 'type' | 'target'> = alone ? { type: 'file' } : { type: 'hardlink', target: object };
  for (const path of paths) yield encodeTarEntry({ ...link, path: containerPath(path), ...ownership });
}

/** The content of a regular file, and what fills up its last block. */
export function* fileContent(file: StoredFile, scratch: Buffer): Generator<TarPiece> {
  yield file.size < scratch.length ? file.readAll(scratch) : file.content(scratch);
  yield tarPadding(file.size);
}
