/** Reads a directory tree from disk into memory, but for the content of its files. */
import { lstatSync, readdirSync, readlinkSync, type Stats } from 'node:fs';
import { ioError } from '../errors.ts';
import { NO_XATTRS, type Xattr } from '../objects/xattrs.ts';
import { listLinkXattrs } from '../posix/xattr.ts';
import { ComposeError } from './errors.ts';
import type { DirectoryNode, TreeNode } from './tree-node.ts';

/**
 * Attributes of the machine that the tree lies on rather than of the tree: labels are given by the tree's own policy, the
 * others belong to the file system (overlayfs, IMA of the build host).
 */
const OF_THE_MACHINE = /^(security\.(selinux|ima|evm)|trusted\.overlay\..*|user\.overlay\..*|system\.nfs4_acl)$/;

const UTF8 = new TextDecoder('utf-8', { fatal: true });

export interface ScanOptions {
  /** Names at the top of the tree whose content is not looked at: what is mounted on a running system. */
  readonly skipContent?: ReadonlySet<string>;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Lists the tree below `path`. Links are not followed, other file systems are entered.
 * @throws {ComposeError} `UnsupportedFile` for a name that is not UTF-8, OstreeError if something cannot be read
 */
export function scanTree(path: string, options: ScanOptions = {}): DirectoryNode {
  const root = attempt(path, () => lstatSync(path));
  if (!root.isDirectory())
    throw new ComposeError('InvalidLayout', `${path} is not a directory; name the root of a tree`);
  return scanDirectory(path, root, options, 0);
}

function scanDirectory(path: string, stats: Stats, options: ScanOptions, depth: number): DirectoryNode {
  options.signal?.throwIfAborted();
  const entries = new Map<string, TreeNode>();
  const { uid, gid, mode } = stats;
  const directory: DirectoryNode = { kind: 'directory', uid, gid, mode, xattrs: xattrsOf(path), entries };
  for (const bytes of attempt(path, () => readdirSync(path, { encoding: 'buffer' }))) {
    const name = decode(bytes, path);
    const child = `${path}/${name}`;
    const childStats = attempt(child, () => lstatSync(child));
    if (depth === 0 && childStats.isDirectory() && options.skipContent?.has(name) === true) {
      entries.set(name, { ...emptied(child, childStats) });
    } else {
      entries.set(name, scanNode(child, childStats, options, depth + 1));
    }
  }
  return directory;
}

function emptied(path: string, { uid, gid, mode }: Stats): DirectoryNode {
  return { kind: 'directory', uid, gid, mode, xattrs: xattrsOf(path), entries: new Map() };
}

function scanNode(path: string, stats: Stats, options: ScanOptions, depth: number): TreeNode {
  const { uid, gid, mode, size } = stats;
  if (stats.isDirectory()) return scanDirectory(path, stats, options, depth);
  if (stats.isFile()) {
    return { kind: 'file', uid, gid, mode, size, xattrs: xattrsOf(path), content: { kind: 'path', path } };
  }
  if (stats.isSymbolicLink()) {
    const target = decode(
      attempt(path, () => readlinkSync(path, { encoding: 'buffer' })),
      path,
    );
    return { kind: 'symlink', uid, gid, xattrs: xattrsOf(path), target };
  }
  return { kind: 'special', what: whatIs(stats) };
}

function whatIs(stats: Stats): string {
  if (stats.isSocket()) return 'a socket';
  return stats.isFIFO() ? 'a named pipe' : 'a device';
}

function xattrsOf(path: string): readonly Xattr[] {
  const all = attempt(path, () => listLinkXattrs(path));
  if (all.length === 0) return NO_XATTRS;
  const kept = all.filter(({ name }) => !OF_THE_MACHINE.test(name));
  return kept.length === 0 ? NO_XATTRS : kept;
}

function decode(bytes: Buffer, parent: string): string {
  try {
    return UTF8.decode(bytes);
  } catch (cause) {
    const shown = JSON.stringify(bytes.toString('latin1'));
    throw new ComposeError(
      'UnsupportedFile',
      `${parent} holds the name ${shown}, which is not UTF-8, and OSTree keeps no other; rename or remove it`,
      { cause },
    );
  }
}

function attempt<T>(path: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw ioError(`read ${path}`, error);
  }
}
