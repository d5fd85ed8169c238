/**
 * The tar stream that carries a whole commit in one layer: an OSTree repository under `sysroot/ostree/repo`, and beside
 * it the same files again under their real paths, as hard links, so that container tools see an ordinary file system.
 *
 * Source: ostree-container format, tar stream of the commit layer.
 */
import { decodeDirtree } from '../objects/dirtree.ts';
import { isSymlink, S_IFMT } from '../objects/file-header.ts';
import { looseObjectPath, type MetadataType } from '../objects/object-name.ts';
import { encodeXattrs } from '../objects/xattrs.ts';
import type { Repository } from '../repository/repository.ts';
import { encodePaxXattrs, encodeTarEntry, TAR_END, tarPadding, type TarEntry } from './tar-entry.ts';

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
const SELINUX_XATTR = 'security.selinux';

interface Contents {
  /** Content objects with the paths that each is found under; none for what lies in `/sysroot`. */
  readonly files: Map<string, string[]>;
  readonly written: Set<string>;
  /** The dirtree of `/sysroot`: it comes after all others, as the reference tools only carry it when it is one of those. */
  sysroot?: string;
  hasVarTmp: boolean;
}

export interface LayerProgress {
  readonly objectsDone: number;
  readonly objectsTotal: number;
}

/** Streams the layer of `checksum`. The same commit always gives the same bytes. Memory grows with the number of files only. */
export async function* commitLayer(
  repository: Repository,
  checksum: string,
  onProgress: (progress: LayerProgress) => void = () => undefined,
): AsyncGenerator<Buffer> {
  const commit = repository.readCommit(checksum);
  const contents: Contents = { files: new Map(), written: new Set(), hasVarTmp: false };
  const { uid, gid, mode } = repository.readDirectoryMetadata(commit.dirmeta);
  yield encodeTarEntry({ type: 'directory', path: './', mode: mode & ~S_IFMT, uid, gid });
  yield* repositorySkeleton();
  yield* metadataObject(repository, 'commit', checksum, contents);
  const detached = repository.readDetachedMetadataBytes(checksum);
  if (detached !== undefined) yield* smallFile(objectPath(checksum, 'commitmeta'), detached);
  yield* metadataObject(repository, 'dirmeta', commit.dirmeta, contents);
  yield* directoryContents(repository, commit.dirtree, '', contents);
  // In the container /sysroot holds the repository; its own objects are carried all the same, without real paths:
  // lacking them the commit would be incomplete wherever it is imported.
  if (contents.sysroot !== undefined) yield* directoryContents(repository, contents.sysroot, undefined, contents);
  if (!contents.hasVarTmp) yield plainDirectory('var/tmp', 0o1777);
  const checksums = Array.from(contents.files.keys()).sort();
  for (const [index, file] of checksums.entries()) {
    onProgress({ objectsDone: index, objectsTotal: checksums.length });
    yield* contentObject(repository, file, contents.files.get(file) ?? []);
  }
  onProgress({ objectsDone: checksums.length, objectsTotal: checksums.length });
  yield TAR_END;
}

function* repositorySkeleton(): Generator<Buffer> {
  for (const path of ['sysroot', 'sysroot/ostree', REPOSITORY, `${REPOSITORY}/objects`]) yield plainDirectory(path);
  for (let prefix = 0; prefix < 256; prefix++) {
    yield plainDirectory(`${REPOSITORY}/objects/${prefix.toString(16).padStart(2, '0')}`);
  }
  for (const path of REPOSITORY_DIRECTORIES) yield plainDirectory(`${REPOSITORY}/${path}`);
  yield* smallFile(`${REPOSITORY}/config`, CONFIG);
}

function plainDirectory(path: string, mode = 0o755): Buffer {
  return encodeTarEntry({ type: 'directory', path, mode, uid: 0, gid: 0 });
}

function* smallFile(path: string, content: Buffer): Generator<Buffer> {
  yield encodeTarEntry({ type: 'file', path, mode: 0o644, uid: 0, gid: 0, size: content.length });
  yield content;
  yield tarPadding(content.length);
}

function objectPath(checksum: string, extension: string): string {
  return `${REPOSITORY}/objects/${looseObjectPath(checksum, extension)}`;
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

/** In a container, configuration lies where programs look for it. */
function containerPath(path: string): string {
  return path === 'usr/etc' || path.startsWith('usr/etc/') ? path.slice('usr/'.length) : path;
}

async function* contentObject(
  repository: Repository,
  checksum: string,
  paths: readonly string[],
): AsyncGenerator<Buffer> {
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
    yield* file.content();
    yield tarPadding(size);
  }
  // Container builds write into empty files that were meant to be mounted over: those must not share one object.
  const alone = !isSymlink(header) && size === 0;
  const link: Pick<TarEntry, 'type' | 'target'> = alone ? { type: 'file' } : { type: 'hardlink', target: object };
  for (const path of paths) yield encodeTarEntry({ ...link, path: containerPath(path), ...ownership });
}
