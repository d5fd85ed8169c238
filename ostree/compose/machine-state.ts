/**
 * What of a tree belongs to the machine rather than to the image. A commit has no /var that every host would get: older
 * hosts refuse it, newer ones copy it once. So directories of /var are declared to systemd-tmpfiles, which makes them
 * where they are missing, and files are kept as its templates. tmpfiles.d(5), file-hierarchy(7).
 */
import { createHash } from 'node:crypto';
import {
  type DirectoryNode,
  emptyDirectory,
  ensureDirectory,
  findDirectory,
  hasContent,
  link,
  textFile,
  type TreeNode,
  walk,
} from './tree-node.ts';
import { ComposeError } from './errors.ts';

/** Top-level directories that are the machine's, and where a host keeps them. Source: ostree docs, "Adapting existing mainstream distributions". */
const ALWAYS_OF_THE_MACHINE: Readonly<Record<string, string>> = {
  home: 'var/home',
  media: 'run/media',
  mnt: 'var/mnt',
  root: 'var/roothome',
  srv: 'var/srv',
};

/** The machine's unless the image brings files there; then they are the image's, and read-only. */
const OF_THE_MACHINE_IF_EMPTY: Readonly<Record<string, { readonly target: string; readonly link: string }>> = {
  opt: { target: 'var/opt', link: 'var/opt' },
  'usr/local': { target: 'var/usrlocal', link: '../var/usrlocal' },
};

/** Package databases describe /usr, so they go with it. */
const DATABASES: Readonly<Record<string, string>> = {
  'lib/dpkg': 'usr/lib/sysimage/dpkg',
  'lib/pacman': 'usr/lib/sysimage/pacman',
  'lib/rpm': 'usr/lib/sysimage/rpm',
};

/** Below /var: files that nobody misses, or that must differ between machines. Directories stay. */
const NOT_KEPT = [
  /^cache\//,
  /^log\//,
  /^tmp\//,
  /^lib\/apt\/lists\//,
  /^lib\/systemd\/random-seed$/,
  /^lib\/dbus\/machine-id$/,
  /^lib\/systemd\/catalog\//,
  /^spool\/mail\//,
];

const TMPFILES = 'usr/lib/tmpfiles.d';
const TEMPLATES = 'usr/share/factory/var';

export interface MachineState {
  /** Files of which the image has a template, by their path on the machine. */
  readonly templates: readonly string[];
  /** Files that are left out. */
  readonly dropped: readonly string[];
  /** Directories that stay in the image, read-only, because it brings files there. */
  readonly kept: readonly string[];
}

/**
 * Empties /var, /home and the like, and says in `usr/lib/tmpfiles.d` what is to be made of them on each host.
 * A tree in which they are empty stays as it is. @throws {ComposeError} `InvalidLayout`
 */
export function separateMachineState(root: DirectoryNode): MachineState {
  const state = emptyDirectory();
  const kept: string[] = [];
  const mounted = findDirectory(root, 'var');
  for (const [name, node] of mounted?.entries ?? []) state.entries.set(name, node);
  for (const [name, target] of Object.entries(ALWAYS_OF_THE_MACHINE)) replace(root, name, target, target, state);
  for (const [path, { target, link }] of Object.entries(OF_THE_MACHINE_IF_EMPTY)) {
    const directory = findDirectory(root, path);
    if (directory !== undefined && hasContent(directory)) kept.push(path);
    else replace(root, path, target, link, state);
  }
  moveDatabases(root, state);
  const { lines, templates, dropped } = declare(root, state);
  mounted?.entries.clear();
  if (lines.length > 0) {
    const folder = ensureDirectory(root, TMPFILES);
    if (folder === undefined) throw inTheWay(TMPFILES);
    const text = `${lines.join('\n')}\n`;
    folder.entries.set(declarationName(text), textFile(text));
  }
  return { templates, dropped, kept };
}

/**
 * Read last, so that what packages declare about the same path holds; and another one for other content, so that an image
 * that is built upon ours adds to what ours says.
 */
function declarationName(text: string): string {
  return `zz-treeline-${createHash('sha256').update(text).digest('hex').slice(0, 8)}.conf`;
}

/** Puts a link in place of a directory, and its content where the link leads. */
function replace(root: DirectoryNode, path: string, target: string, linkTarget: string, state: DirectoryNode): void {
  const slash = path.lastIndexOf('/');
  const parent = slash < 0 ? root : findDirectory(root, path.slice(0, slash));
  const name = path.slice(slash + 1);
  const directory = parent?.entries.get(name);
  if (parent === undefined || directory?.kind !== 'directory') return;
  parent.entries.set(name, link(linkTarget));
  if (!target.startsWith('var/')) return;
  const place = target.slice('var/'.length);
  const there = state.entries.get(place) ?? directory;
  if (there.kind !== 'directory') throw inTheWay(target);
  for (const [child, node] of directory.entries) there.entries.set(child, node);
  state.entries.set(place, there);
}

function moveDatabases(root: DirectoryNode, state: DirectoryNode): void {
  for (const [path, target] of Object.entries(DATABASES)) {
    const slash = path.lastIndexOf('/');
    const parent = findDirectory(state, path.slice(0, slash));
    const name = path.slice(slash + 1);
    const database = parent?.entries.get(name);
    if (parent === undefined || database?.kind !== 'directory') continue;
    const folder = ensureDirectory(root, target.slice(0, target.lastIndexOf('/')));
    const place = target.slice(target.lastIndexOf('/') + 1);
    if (folder === undefined || folder.entries.has(place)) {
      throw new ComposeError(
        'InvalidLayout',
        `The tree has both var/${path} and ${target}, and only one can be its package database; remove the other`,
      );
    }
    folder.entries.set(place, database);
    parent.entries.set(name, link(`../../${target}`));
  }
}

function declare(
  root: DirectoryNode,
  state: DirectoryNode,
): { readonly lines: readonly string[]; readonly templates: readonly string[]; readonly dropped: readonly string[] } {
  const lines: string[] = [];
  const templates: string[] = [];
  const dropped: string[] = [];
  for (const { path, node } of walk(state)) {
    if (node.kind !== 'directory' && NOT_KEPT.some((pattern) => pattern.test(path))) {
      dropped.push(`var/${path}`);
      continue;
    }
    const at = quoted(`/var/${path}`);
    if (node.kind === 'directory') {
      if (!isImplied(node)) lines.push(`d ${at} ${octal(node.mode)} ${node.uid} ${node.gid} -`);
    } else if (node.kind === 'symlink') {
      lines.push(`L ${at} - - - - ${quoted(node.target)}`);
    } else if (node.kind === 'file') {
      const slash = path.lastIndexOf('/');
      const folder = ensureDirectory(root, slash < 0 ? TEMPLATES : `${TEMPLATES}/${path.slice(0, slash)}`);
      if (folder === undefined) throw inTheWay(`${TEMPLATES}/${path}`);
      folder.entries.set(path.slice(slash + 1), node);
      lines.push(`C ${at} - - - -`);
      templates.push(`var/${path}`);
    } else {
      dropped.push(`var/${path}`);
    }
  }
  return { lines, templates, dropped };
}

/** Directories that systemd-tmpfiles makes by itself, on the way to what is below them. */
function isImplied({ uid, gid, mode, entries }: DirectoryNode): boolean {
  if (uid !== 0 || gid !== 0 || (mode & 0o7777) !== 0o755) return false;
  return [...entries.values()].some((child: TreeNode) => child.kind === 'directory');
}

function octal(mode: number): string {
  return (mode & 0o7777).toString(8).padStart(4, '0');
}

/** `%` begins a specifier, and a field ends at a space: tmpfiles.d(5), and systemd.syntax(7) for the escapes. */
function quoted(path: string): string {
  const escaped = path.replaceAll('%', '%%');
  if (/^[\w./@:+,=%~-]+$/.test(escaped)) return escaped;
  // eslint-disable-next-line no-control-regex
  const safe = escaped.replaceAll(/[\0-\x1f"\\\x7f]/g, (character) => {
    return `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`;
  });
  return `"${safe}"`;
}

function inTheWay(path: string): ComposeError {
  return new ComposeError('InvalidLayout', `Something that is not a directory is in the way of ${path}; remove it`);
}
