/**
 * `/sysroot` of a booted host is mounted read-only; only a mount namespace of one's own may see it otherwise. A pod has
 * one; on the host itself, the caller must have made one (unshare(1)).
 */
import { access, constants, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import { type CommandRunner, commandRunner } from './command.ts';
import { repositoryPath } from './ostree-tool.ts';

/** Whether the sysroot's repository lies on a file system that is mounted read-only. */
export async function isReadOnly(sysroot: string): Promise<boolean> {
  try {
    await access(join(repositoryPath(sysroot), 'objects'), constants.W_OK);
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EROFS';
  }
}

/** Whether this process is in another mount namespace than the host's process 1, as in a pod. mount_namespaces(7) */
export async function hasOwnMounts(): Promise<boolean> {
  return (await readlink('/proc/self/ns/mnt')) !== (await readlink('/proc/1/ns/mnt'));
}

/** Remounts `<root>/sysroot` read-write in this process's mount namespace, if it needs it. `ostree admin` does the same. */
export async function makeWritable(root: string, run: CommandRunner = commandRunner()): Promise<void> {
  if (await isReadOnly(root)) await run(['mount', '-o', 'remount,bind,rw', join(root, 'sysroot')]);
}
