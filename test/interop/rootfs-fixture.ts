/** Root file systems on disk, as a distribution's installer leaves them, for what makes operating systems of them. */
import { chmodSync, chownSync, lchownSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setLinkXattr } from '../../ostree/posix/xattr.ts';
import { type FileSpec, ostree } from './ostree-fixture.ts';

/** Writes the tree below `root`; parents that are not named get mode 0755. Needs root for owners and some attributes. */
export function writeRootfs(root: string, tree: Readonly<Record<string, FileSpec>>): void {
  mkdirSync(root, { recursive: true });
  for (const [name, spec] of Object.entries(tree)) {
    const path = join(root, name);
    mkdirSync(dirname(path), { recursive: true });
    const { uid = 0, gid = 0, target, directory, content = '' } = spec;
    if (target !== undefined) {
      symlinkSync(target, path);
      lchownSync(path, uid, gid);
    } else {
      if (directory === true) mkdirSync(path, { recursive: true });
      else writeFileSync(path, content);
      chownSync(path, uid, gid);
      chmodSync(path, spec.mode ?? (directory === true ? 0o755 : 0o644));
    }
    for (const xattr of spec.xattrs ?? []) setLinkXattr(path, xattr.name, xattr.value);
  }
}

/** What makes a tree one that can be booted. */
export const KERNEL: Readonly<Record<string, FileSpec>> = {
  'usr/lib/modules/6.1.0-test/vmlinuz': { content: 'kernel' },
  'usr/lib/modules/6.1.0-test/initramfs.img': { content: 'initramfs', mode: 0o600 },
};

/** The rest of an OSTree system's layout: a tree with it and nothing in /etc and /var is committed as it is. */
export const OSTREE_LAYOUT: Readonly<Record<string, FileSpec>> = {
  boot: { directory: true },
  dev: { directory: true },
  home: { target: 'var/home' },
  opt: { target: 'var/opt' },
  ostree: { target: 'sysroot/ostree' },
  proc: { directory: true },
  root: { target: 'var/roothome' },
  run: { directory: true },
  sys: { directory: true },
  sysroot: { directory: true },
  tmp: { directory: true, mode: 0o1777 },
  var: { directory: true },
};

/** A package as dpkg's status file has it. */
export function dpkgEntry(name: string): string {
  return `Package: ${name}\nStatus: install ok installed\nVersion: 1\nArchitecture: all\n`;
}

/** An installed system in small: kernel in /boot, package database and state in /var, devices in /dev. */
export const INSTALLED: Readonly<Record<string, FileSpec>> = {
  bin: { target: 'usr/bin' },
  'boot/config-6.1.0-test': { content: 'CONFIG=y\n' },
  'boot/grub/grub.cfg': { content: 'menu\n' },
  'boot/initrd.img-6.1.0-test': { content: 'initramfs' },
  'boot/vmlinuz-6.1.0-test': { content: 'kernel' },
  'etc/hostname': { content: 'image\n' },
  'etc/machine-id': { content: '0123456789abcdef0123456789abcdef\n' },
  home: { directory: true },
  opt: { directory: true },
  'proc/leftover': { content: 'no host sees it' },
  'root/.profile': { content: 'umask 022\n' },
  sys: { directory: true },
  tmp: { directory: true, mode: 0o1777 },
  'usr/bin/sh': { content: 'shell\n', mode: 0o755 },
  'usr/lib/modules/6.1.0-test/kernel/fs.ko': { content: 'module' },
  'usr/lib/os-release': { content: 'ID=small\n' },
  'usr/local/bin': { directory: true },
  'var/cache/apt/pkgcache.bin': { content: 'cache' },
  'var/lib/dpkg/info/sh.list': { content: '/usr/bin/sh\n' },
  'var/lib/dpkg/status': { content: dpkgEntry('sh') },
  'var/lib/private stuff': { directory: true, mode: 0o700, uid: 7, gid: 8 },
  'var/lib/small/seed.db': { content: 'seed', uid: 7 },
  'var/log/dpkg.log': { content: 'log' },
  'var/run': { target: '/run' },
  vmlinuz: { target: 'boot/vmlinuz-6.1.0-test' },
};

/** What a composed commit declares to systemd-tmpfiles on behalf of its tree. */
export function declared(repo: string, commit: string): string {
  const folder = '/usr/lib/tmpfiles.d';
  const names = ostree(repo, 'ls', '--nul-filenames-only', commit, folder).split('\0');
  return names
    .filter((name) => name.startsWith(`${folder}/zz-treeline-`))
    .map((name) => ostree(repo, 'cat', commit, name))
    .join('');
}
