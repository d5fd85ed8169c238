/** The two file systems of an installed disk: made in place, and mounted through loop devices that go with the mounts. */
import { randomUUID } from 'node:crypto';
import { mkdir, mkdtemp, rmdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { CommandRunner } from '../../node-agent/host/command.ts';
import type { DiskLayout, Partition } from './disk-layout.ts';

/** What extlinux can read, and nothing that newer releases of mke2fs add by themselves. */
const BOOT_FEATURES =
  'none,has_journal,ext_attr,dir_index,filetype,extent,flex_bg,sparse_super,large_file,dir_nlink,extra_isize';

export interface FileSystems {
  readonly bootUUID: string;
  readonly rootUUID: string;
}

/** Makes the file systems, labelled `boot` and `root`. A disk that is divided already need not be known to the kernel. */
export async function makeFileSystems(disk: string, layout: DiskLayout, run: CommandRunner): Promise<FileSystems> {
  const made = { bootUUID: randomUUID(), rootUUID: randomUUID() };
  const make = ({ startBytes, bytes }: Partition, ...options: string[]) =>
    run(['mke2fs', '-q', '-F', '-t', 'ext4', '-E', `offset=${startBytes}`, ...options, disk, `${bytes / 1024}k`]);
  await make(layout.boot, '-L', 'boot', '-U', made.bootUUID, '-O', BOOT_FEATURES);
  await make(layout.root, '-L', 'root', '-U', made.rootUUID);
  return made;
}

/**
 * Mounts both below a new directory, calls `work` with it, and unmounts them, whatever happens. To be called in a mount
 * namespace of one's own, with which the mounts go if we are killed.
 */
export async function withMounted<T>(
  disk: string,
  layout: DiskLayout,
  run: CommandRunner,
  work: (root: string) => Promise<T>,
): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'treeline-install-'));
  const mount = ({ startBytes, bytes }: Partition, at: string) =>
    run(['mount', '-t', 'ext4', '-o', `loop,offset=${startBytes},sizelimit=${bytes}`, disk, at]);
  try {
    await mount(layout.root, folder);
    try {
      await mkdir(join(folder, 'boot'));
      await mount(layout.boot, join(folder, 'boot'));
      return await work(folder);
    } finally {
      await run(['umount', '--recursive', folder]);
    }
  } finally {
    await rmdir(folder);
  }
}
