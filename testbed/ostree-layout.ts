/**
 * Turns a root file system as a distribution's installer leaves it into the layout of an OSTree deployment: everything
 * that belongs to the system below /usr, everything that belongs to the machine below /var (ostree docs: "Adapting
 * existing mainstream distributions").
 */
import { chmod, cp, mkdir, readdir, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/** Mount points and machine state: present in the tree, but empty. */
const EMPTY = ['boot', 'dev', 'proc', 'run', 'sys', 'sysroot', 'tmp', 'var'] as const;

/** Top-level directories whose content belongs to the machine, and where that lives. */
const MACHINE_STATE: Readonly<Record<string, string>> = {
  home: 'var/home',
  media: 'run/media',
  mnt: 'var/mnt',
  opt: 'var/opt',
  root: 'var/roothome',
  srv: 'var/srv',
};

const TMPFILES = `d /var/home 0755 root root -
d /var/mnt 0755 root root -
d /var/opt 0755 root root -
d /var/roothome 0700 root root -
d /var/srv 0755 root root -
d /var/usrlocal 0755 root root -
d /run/media 0755 root root -
`;

/** Where an OSTree tree keeps kernel and initramfs of one kernel version. */
export function kernelFolder(tree: string, kernelVersion: string): string {
  return join(tree, 'usr', 'lib', 'modules', kernelVersion);
}

/** Moves each `/boot/vmlinuz-VERSION` of an installed root to where OSTree looks for it; returns the versions, oldest first. */
export async function collectKernels(root: string): Promise<readonly string[]> {
  const prefix = 'vmlinuz-';
  const versions = (await readdir(join(root, 'boot')))
    .filter((name) => name.startsWith(prefix))
    .map((name) => name.slice(prefix.length))
    .toSorted(new Intl.Collator('en', { numeric: true }).compare);
  for (const version of versions) {
    await rename(join(root, 'boot', `${prefix}${version}`), join(kernelFolder(root, version), 'vmlinuz'));
  }
  return versions;
}

/**
 * Nothing boots the testbed's images, and a real initramfs takes dracut and minutes: this file only stands where one
 * belongs, so that `ostree admin deploy` finds what it checks for.
 */
export async function writeInitramfsStandIn(tree: string, kernelVersion: string): Promise<void> {
  const text = `Stand-in for the initramfs of Linux ${kernelVersion}. This image is made for an unbooted sysroot.\n`;
  await writeFile(join(kernelFolder(tree, kernelVersion), 'initramfs.img'), text);
}

/** Rearranges `root` in place. Run it once: it is not meant to be repeated after a failure. */
export async function convertToOSTreeLayout(root: string): Promise<void> {
  const at = (...names: readonly string[]) => join(root, ...names);
  await rm(at('etc', 'machine-id'), { force: true });
  await writeFile(at('etc', 'machine-id'), '');
  await writeFile(at('etc', 'fstab'), 'LABEL=boot /boot ext4 defaults 0 2\n');
  await rename(at('etc'), at('usr', 'etc'));

  // The package database describes /usr, so it goes with it; the rest of /var is the machine's.
  await mkdir(at('usr', 'lib', 'sysimage'), { recursive: true });
  await cp(at('var', 'lib', 'dpkg'), at('usr', 'lib', 'sysimage', 'dpkg'), {
    recursive: true,
    preserveTimestamps: true,
  });

  for (const name of EMPTY) {
    await rm(at(name), { recursive: true, force: true });
    await mkdir(at(name));
    await chmod(at(name), name === 'tmp' ? 0o1777 : 0o755);
  }
  for (const [name, target] of Object.entries(MACHINE_STATE)) {
    await rm(at(name), { recursive: true, force: true });
    await symlink(target, at(name));
  }
  await rm(at('usr', 'local'), { recursive: true, force: true });
  await symlink('../var/usrlocal', at('usr', 'local'));
  await symlink('sysroot/ostree', at('ostree'));
  await writeFile(at('usr', 'lib', 'tmpfiles.d', 'ostree-layout.conf'), TMPFILES);
  // Debian's links to the newest kernel in /boot, which is elsewhere now.
  for (const name of ['vmlinuz', 'vmlinuz.old', 'initrd.img', 'initrd.img.old']) await rm(at(name), { force: true });
}
