/** A directory tree in memory, as it is to be committed: names, owners, modes and attributes, and where content is read. */
import { S_IFDIR, S_IFREG } from '../objects/file-header.ts';
import { NO_XATTRS, type Xattr } from '../objects/xattrs.ts';

interface Owned {
  readonly uid: number;
  readonly gid: number;
  readonly xattrs: readonly Xattr[];
}

export type FileContent =
  | { readonly kind: 'path'; readonly path: string }
  | { readonly kind: 'bytes'; readonly bytes: Buffer }
  /** A content object of the repository that the tree is written to, with the node's own owner, mode and attributes. */
  | { readonly kind: 'object'; readonly checksum: string };

export interface FileNode extends Owned {
  readonly kind: 'file';
  /** With the file type. */
  readonly mode: number;
  /** Bytes. */
  readonly size: number;
  readonly content: FileContent;
}

export interface LinkNode extends Owned {
  readonly kind: 'symlink';
  readonly target: string;
}

export interface DirectoryNode extends Owned {
  readonly kind: 'directory';
  /** With the file type. */
  readonly mode: number;
  readonly entries: Map<string, TreeNode>;
}

/** What OSTree cannot store. It is an error only where it would be part of the commit. */
export interface SpecialNode {
  readonly kind: 'special';
  /** What it is, for people: "a device", "a socket". */
  readonly what: string;
}

export type TreeNode = FileNode | LinkNode | DirectoryNode | SpecialNode;

const ROOT: Owned = { uid: 0, gid: 0, xattrs: NO_XATTRS };

/** An empty directory that belongs to root. @param permissions without the file type */
export function emptyDirectory(permissions = 0o755): DirectoryNode {
  return { kind: 'directory', ...ROOT, mode: S_IFDIR | permissions, entries: new Map() };
}

/** A link that belongs to root. */
export function link(target: string): LinkNode {
  return { kind: 'symlink', ...ROOT, target };
}

/** A file of mode 0644 that belongs to root. */
export function textFile(text: string): FileNode {
  const bytes = Buffer.from(text);
  return { kind: 'file', ...ROOT, mode: S_IFREG | 0o644, size: bytes.length, content: { kind: 'bytes', bytes } };
}

/** What lies at a path such as `usr/etc`; links are not followed. */
export function find(root: DirectoryNode, path: string): TreeNode | undefined {
  let node: TreeNode | undefined = root;
  for (const name of path.split('/')) node = node?.kind === 'directory' ? node.entries.get(name) : undefined;
  return node;
}

/** The same if it is a directory. */
export function findDirectory(root: DirectoryNode, path: string): DirectoryNode | undefined {
  const node = find(root, path);
  return node?.kind === 'directory' ? node : undefined;
}

/** The directory at `path`, made with its parents where there is none. Undefined where something else is in the way. */
export function ensureDirectory(root: DirectoryNode, path: string): DirectoryNode | undefined {
  let directory = root;
  for (const name of path.split('/')) {
    const known = directory.entries.get(name);
    if (known !== undefined && known.kind !== 'directory') return undefined;
    const child = known ?? emptyDirectory();
    directory.entries.set(name, child);
    directory = child;
  }
  return directory;
}

/** Everything below `directory`, parents first, names in the order of their code units. */
export function* walk(
  directory: DirectoryNode,
  prefix = '',
): Generator<{ readonly path: string; readonly node: TreeNode }> {
  for (const [name, node] of [...directory.entries].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const path = `${prefix}${name}`;
    yield { path, node };
    if (node.kind === 'directory') yield* walk(node, `${path}/`);
  }
}

/** Whether there is anything but directories in it. */
export function hasContent(directory: DirectoryNode): boolean {
  for (const { node } of walk(directory)) if (node.kind !== 'directory') return true;
  return false;
}
