/** File systems in files of a mount namespace: made, copied, mounted through loop devices. */
import { open, writeFile } from 'node:fs/promises';
import { basename } from 'node:path';
import type { DiskPatch } from './disk-log.ts';
import { MAX_WRITE_BYTES } from './fuse-protocol.ts';
import type { MountNamespace } from './mount-namespace.ts';

/** Those that hosts have: Debian's, Fedora's, openSUSE's. */
export type FileSystem = 'ext4' | 'xfs' | 'btrfs';

interface Recipe {
  readonly bytes: number;
  readonly make: readonly string[];
  readonly mountOptions: string;
}

const MEBIBYTE = 1024 * 1024;

const RECIPES: Readonly<Record<FileSystem, Recipe>> = {
  ext4: {
    bytes: 192 * MEBIBYTE,
    make: ['mkfs.ext4', '-q', '-b', '4096', '-E', 'lazy_itable_init=0,lazy_journal_init=0', '-J', 'size=8', '-m', '0'],
    mountOptions: 'loop',
  },
  // The smallest that mkfs.xfs makes. nouuid: its copies are mounted, too.
  xfs: { bytes: 320 * MEBIBYTE, make: ['mkfs.xfs', '-q'], mountOptions: 'loop,nouuid' },
  btrfs: { bytes: 256 * MEBIBYTE, make: ['mkfs.btrfs', '-q', '-m', 'single'], mountOptions: 'loop' },
};

/** Makes an empty file system in a new, sparse file. @param bytes its size, if not the usual one */
export async function makeDiskImage(
  namespace: MountNamespace,
  image: string,
  kind: FileSystem,
  bytes?: number,
): Promise<void> {
  await namespace.run('truncate', '-s', `${bytes ?? RECIPES[kind].bytes}`, image);
  const [program = '', ...parameters] = RECIPES[kind].make;
  await namespace.run(program, ...parameters, image);
}

export async function copyDiskImage(namespace: MountNamespace, from: string, to: string): Promise<void> {
  await namespace.run('cp', '--sparse=always', from, to);
}

/** Mounts an image, or a fault disk, and returns what unmounts it. The journal is replayed, as after a power cut. */
export async function mountDiskImage(
  namespace: MountNamespace,
  image: string,
  kind: FileSystem,
  mountPoint: string,
): Promise<AsyncDisposable> {
  await namespace.run('mkdir', '-p', mountPoint);
  await namespace.run('mount', '-t', kind, '-o', RECIPES[kind].mountOptions, image, mountPoint);
  await limitRequests(namespace, mountPoint);
  return {
    [Symbol.asyncDispose]: async () => {
      await namespace.run('umount', mountPoint);
    },
  };
}

/**
 * Keeps the loop device's writes so small that FUSE passes each on in one piece. Of a larger one a part may fail, and
 * the loop driver (Linux 6.18) takes what was written short for written: a disk that loses data and says nothing.
 */
async function limitRequests(namespace: MountNamespace, mountPoint: string): Promise<void> {
  const device = (await namespace.run('findmnt', '--noheadings', '--output', 'SOURCE', mountPoint)).trim();
  await writeFile(`/sys/block/${basename(device)}/queue/max_sectors_kb`, `${MAX_WRITE_BYTES / 2 / 1024}`);
}

/** Writes logged pieces to where they belong on an image. Paths as seen from outside. */
export async function patchDiskImage(image: string, log: string, patches: readonly DiskPatch[]): Promise<void> {
  await using target = await open(image, 'r+');
  await using source = await open(log, 'r');
  for (const { offset, length, position } of patches) {
    const bytes = Buffer.alloc(length);
    await source.read(bytes, 0, length, position);
    await target.write(bytes, 0, length, offset);
  }
}
