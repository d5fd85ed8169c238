/**
 * Makes of a root file system, as a distribution's installer leaves it, the tree of an OSTree system: what belongs to the
 * image in /usr, what belongs to the machine out of it, mount points empty. A tree that is so already stays as it is.
 *
 * Source: ostree docs, "Adapting existing mainstream distributions"; ostree-container format, section on trees.
 */
import { ComposeError } from './errors.ts';
import { kernelVersion, moveKernels } from './kernel.ts';
import { type MachineState, separateMachineState } from './machine-state.ts';
import {
  type DirectoryNode,
  emptyDirectory,
  find,
  findDirectory,
  hasContent,
  link,
  textFile,
  walk,
} from './tree-node.ts';

/** Mounted over on a running host, so that their content is nobody's. */
export const MOUNT_POINTS: ReadonlySet<string> = new Set(['dev', 'proc', 'run', 'sys', 'tmp']);

/** Directories that every deployment needs, with the permissions they get where the tree lacks them. */
const REQUIRED: Readonly<Record<string, number>> = {
  boot: 0o755,
  dev: 0o755,
  proc: 0o755,
  run: 0o755,
  sys: 0o755,
  sysroot: 0o755,
  tmp: 0o1777,
  var: 0o755,
};

const MACHINE_ID = 'usr/etc/machine-id';
const HOST_KEY = /^ssh_host_.*_key$/;

export interface Arranged extends MachineState {
  /** Version of the kernel, of a tree that is to be booted. */
  readonly kernel?: string;
}

export interface LayoutOptions {
  /** Whether the tree must be one that can be booted. */
  readonly bootable: boolean;
}

/**
 * Arranges `root` in place. What it leaves out and where it puts what is told in the result, and nothing else is changed.
 * @throws {ComposeError} `InvalidLayout`, `UnsupportedFile`, `SharedSecret`, `NoKernel`
 */
export function arrange(root: DirectoryNode, { bootable }: LayoutOptions): Arranged {
  moveConfiguration(root);
  const boot = moveKernels(root);
  const state = separateMachineState(root);
  for (const name of MOUNT_POINTS) findDirectory(root, name)?.entries.clear();
  for (const [name, permissions] of Object.entries(REQUIRED)) requireEmpty(root, name, permissions);
  linkRepository(root);
  refuseSecrets(root);
  refuseSpecialFiles(root);
  return {
    ...state,
    dropped: [...boot, ...state.dropped],
    ...(bootable && { kernel: kernelVersion(root) }),
  };
}

function moveConfiguration(root: DirectoryNode): void {
  const etc = root.entries.get('etc');
  if (etc === undefined) return;
  const usr = findDirectory(root, 'usr');
  if (etc.kind !== 'directory' || usr === undefined) {
    throw new ComposeError('InvalidLayout', 'The tree needs directories /etc and /usr; is it the root of a system?');
  }
  if (usr.entries.has('etc') && etc.entries.size > 0) {
    throw new ComposeError(
      'InvalidLayout',
      'The tree has both /etc and /usr/etc, and only one can be the configuration that hosts start from; merge them into /etc',
    );
  }
  root.entries.delete('etc');
  if (!usr.entries.has('etc')) usr.entries.set('etc', etc);
  const machineId = find(root, MACHINE_ID);
  // Empty, the file is filled in by each host: machine-id(5).
  if (machineId?.kind === 'file' && machineId.size > 0) {
    usr.entries.set('etc', { ...etc, entries: new Map(etc.entries).set('machine-id', textFile('')) });
  }
}

function requireEmpty(root: DirectoryNode, name: string, permissions: number): void {
  const node = root.entries.get(name);
  if (node === undefined) {
    root.entries.set(name, emptyDirectory(permissions));
    return;
  }
  if (node.kind !== 'directory') {
    throw new ComposeError('InvalidLayout', `/${name} of the tree is not a directory, and hosts mount something there`);
  }
  if (node.entries.size === 0) return;
  // Directories alone say nothing; the mount hides them.
  if (hasContent(node)) {
    throw new ComposeError('InvalidLayout', `/${name} of the tree has content that no host would see; empty it`);
  }
  node.entries.clear();
}

function linkRepository(root: DirectoryNode): void {
  const node = root.entries.get('ostree');
  if (node?.kind === 'symlink') return;
  if (node !== undefined && (node.kind !== 'directory' || node.entries.size > 0)) {
    throw new ComposeError(
      'InvalidLayout',
      '/ostree of the tree is not empty: it becomes a link to the repository of the host',
    );
  }
  root.entries.set('ostree', link('sysroot/ostree'));
}

function refuseSecrets(root: DirectoryNode): void {
  for (const name of findDirectory(root, 'usr/etc/ssh')?.entries.keys() ?? []) {
    if (!HOST_KEY.test(name)) continue;
    throw new ComposeError(
      'SharedSecret',
      `/etc/ssh/${name} would be the host key of every node; remove the host keys from the tree, they are made on first boot`,
    );
  }
}

function refuseSpecialFiles(root: DirectoryNode): void {
  for (const { path, node } of walk(root)) {
    if (node.kind !== 'special') continue;
    throw new ComposeError(
      'UnsupportedFile',
      `/${path} is ${node.what}, and OSTree stores files, links and directories only; remove it`,
    );
  }
}
