/**
 * A small initramfs for virtual machines: busybox finds the root file system, OSTree's own `ostree-prepare-root` makes the
 * deployment the root. Under emulation it is up in a third of the time that dracut's takes.
 */
import { copyFile, cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { runCommand } from '../../tools/setup/command.ts';
import { kernelFolder } from '../ostree-layout.ts';

/** What a machine of QEMU's type `pc` needs to see its disk. */
const MODULES = ['virtio_pci', 'virtio_blk', 'ext4'];
const PREPARE_ROOT = ['usr/lib/ostree/ostree-prepare-root', 'lib/ostree/ostree-prepare-root'];

/** root= as `treeline install` writes it; ostree-prepare-root(1) reads ostree= itself. */
const INIT = `#!/bin/sh
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mount -t tmpfs -o mode=0755,nosuid,nodev run /run
for word in $(cat /proc/cmdline); do
  case $word in
    root=*) root=\${word#root=} ;;
    initramfs.panic) echo 'initramfs: panics as told' > /dev/console; exit 1 ;;
    initramfs.hang) echo 'initramfs: hangs as told' > /dev/console; while :; do sleep 60; done ;;
  esac
done
[ -e /panic ] && exit 1
while read -r module; do insmod "/modules/$module"; done < /modules/order
tries=0
until device=$(findfs "$root" 2>/dev/null) || [ $tries = 100 ]; do sleep 0.1; tries=$((tries + 1)); done
mount "$device" /sysroot || exit 1
/usr/lib/ostree/ostree-prepare-root /sysroot || exit 1
for name in dev proc run sys; do mount --move /$name /sysroot/$name; done
exec switch_root /sysroot /sbin/init
`;

/** What decides what is in it, for the cache. */
export const INITRAMFS = { modules: MODULES, init: INIT };

/** Writes the initramfs of a kernel that is installed in `root`, a root file system with busybox and ostree-boot. */
export async function writeInitramfs(root: string, kernelVersion: string): Promise<void> {
  const folder = kernelFolder(root, kernelVersion);
  const tree = await mkdtemp(`${root}.initramfs-`);
  try {
    for (const name of ['bin', 'dev', 'modules', 'proc', 'run', 'sys', 'sysroot', 'usr/lib/ostree']) {
      await mkdir(join(tree, name), { recursive: true });
    }
    await copyFile(join(root, 'bin', 'busybox'), join(tree, 'bin', 'busybox'));
    for (const applet of ['cat', 'findfs', 'insmod', 'mount', 'sh', 'sleep', 'switch_root']) {
      await symlink('busybox', join(tree, 'bin', applet));
    }
    await writeFile(join(tree, 'init'), INIT, { mode: 0o755 });
    await copyWithLibraries(root, tree);
    await copyModules(folder, join(tree, 'modules'));
    await runCommand(
      'sh',
      ['-c', 'find . | bin/busybox cpio -o -H newc | gzip -1 > "$1"', 'sh', join(folder, 'initramfs.img')],
      {
        cwd: tree,
      },
    );
  } finally {
    await rm(tree, { recursive: true });
  }
}

async function copyWithLibraries(root: string, tree: string): Promise<void> {
  const target = join(tree, 'usr', 'lib', 'ostree', 'ostree-prepare-root');
  for (const path of PREPARE_ROOT) {
    const found = await copyFile(join(root, path), target).then(
      () => true,
      () => false,
    );
    if (!found) continue;
    const listing = await runCommand('chroot', [root, 'ldd', `/${path}`]);
    for (const [, library = ''] of listing.matchAll(/(\/\S+) \(0x/g)) {
      await mkdir(join(tree, dirname(library)), { recursive: true });
      // As the link says it: the real file has another name.
      await cp(join(root, library), join(tree, library), { dereference: true });
    }
    return;
  }
  throw new Error(`${root} has no ostree-prepare-root: is ostree-boot among its packages?`);
}

/** In the order in which they are loaded: each after those that it needs (modules.dep(5) has them last first). */
async function copyModules(folder: string, target: string): Promise<void> {
  const dependencies = await readFile(join(folder, 'modules.dep'), 'utf8');
  const lines = dependencies.split('\n').map((line) => line.split(/:? /).filter((path) => path !== ''));
  const wanted = new Set<string>();
  for (const name of MODULES) {
    const line = lines.find(([path]) => path !== undefined && moduleName(path) === name);
    // One that is built in is in no line.
    for (const path of line?.toReversed() ?? []) wanted.add(path.replace(/:$/, ''));
  }
  for (const path of wanted) await decompress(join(folder, path), join(target, `${moduleName(path)}.ko`));
  await writeFile(join(target, 'order'), [...wanted].map((path) => `${moduleName(path)}.ko\n`).join(''));
}

function moduleName(path: string): string {
  return basename(path)
    .replace(/\.ko(\.\w+)?:?$/, '')
    .replaceAll('-', '_');
}

async function decompress(from: string, to: string): Promise<void> {
  if (from.endsWith('.ko')) return copyFile(from, to);
  const program = from.endsWith('.zst') ? 'zstd' : 'xz';
  await runCommand('sh', ['-c', '"$1" -dc "$2" > "$3"', 'sh', program, from, to]);
}
