/** Where an OSTree system keeps its kernel: `usr/lib/modules/VERSION/{vmlinuz,initramfs.img}`, and nothing in /boot. */
import { ComposeError } from './errors.ts';
import { type DirectoryNode, ensureDirectory, find, findDirectory } from './tree-node.ts';

const MODULES = 'usr/lib/modules';

/** How distributions name files in /boot, and what they are called beside the modules. */
const BOOT_FILES: readonly (readonly [pattern: RegExp, name: string])[] = [
  [/^vmlinu[zx]-(?<version>.+)$/, 'vmlinuz'],
  [/^initrd\.img-(?<version>.+)$/, 'initramfs.img'],
  [/^initramfs-(?<version>.+)\.img$/, 'initramfs.img'],
  [/^initrd-(?<version>.+)$/, 'initramfs.img'],
  [/^config-(?<version>.+)$/, 'config'],
  [/^System\.map-(?<version>.+)$/, 'System.map'],
];

/** Links that distributions put at the top of the tree, to what lay in /boot. */
const BOOT_LINKS = ['vmlinuz', 'vmlinuz.old', 'initrd.img', 'initrd.img.old'];

/**
 * Moves what a distribution's packages put into /boot to where OSTree looks for it, and empties /boot.
 * Returns the paths below /boot that have no place in an image, boot loaders and their menus.
 */
export function moveKernels(root: DirectoryNode): readonly string[] {
  const boot = findDirectory(root, 'boot');
  if (boot === undefined) return [];
  const dropped: string[] = [];
  for (const [name, node] of [...boot.entries].sort(([a], [b]) => (a < b ? -1 : 1))) {
    boot.entries.delete(name);
    const place = placeOf(name);
    const folder = node.kind === 'file' && place !== undefined && ensureDirectory(root, `${MODULES}/${place.version}`);
    if (!folder || place === undefined) dropped.push(`boot/${name}`);
    // A file that is there already is the package's own.
    else if (!folder.entries.has(place.name)) folder.entries.set(place.name, node);
  }
  for (const name of BOOT_LINKS) if (root.entries.get(name)?.kind === 'symlink') root.entries.delete(name);
  return dropped;
}

function placeOf(name: string): { readonly version: string; readonly name: string } | undefined {
  for (const [pattern, target] of BOOT_FILES) {
    const version = pattern.exec(name)?.groups?.['version'];
    if (version !== undefined) return { version, name: target };
  }
  return undefined;
}

/**
 * The version of the one kernel that the system boots.
 * @throws {ComposeError} `NoKernel`
 */
export function kernelVersion(root: DirectoryNode): string {
  const modules = findDirectory(root, MODULES);
  const versions = [...(modules?.entries.keys() ?? [])]
    .filter((version) => find(root, `${MODULES}/${version}/vmlinuz`)?.kind === 'file')
    .sort();
  return soleKernel(versions, (version) => find(root, `${MODULES}/${version}/initramfs.img`)?.kind === 'file');
}

/** The same of kernels that are known otherwise. @throws {ComposeError} `NoKernel` */
export function soleKernel(versions: readonly string[], hasInitramfs: (version: string) => boolean): string {
  const [version, another] = versions;
  if (version === undefined) {
    throw new ComposeError(
      'NoKernel',
      `The tree has no ${MODULES}/VERSION/vmlinuz, and no vmlinuz-VERSION in /boot: install a kernel package into it, or say that it is not to be booted with --no-bootable`,
    );
  }
  if (another !== undefined) {
    throw new ComposeError(
      'NoKernel',
      `The tree has several kernels (${versions.join(', ')}), and a host boots one: remove all but one from ${MODULES}`,
    );
  }
  if (!hasInitramfs(version)) {
    throw new ComposeError(
      'NoKernel',
      `The kernel ${version} has no initramfs: make one in the tree, for example with ` +
        `\`dracut --no-hostonly --kver ${version} --add ostree --force /${MODULES}/${version}/initramfs.img\``,
    );
  }
  return version;
}
