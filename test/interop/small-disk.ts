/** A disk of its own for a repository, as small as a test needs it. */
import { mkdtemp } from 'node:fs/promises';
import { join } from 'node:path';
import { run } from './import-fixture.ts';

/** Mounts one with room for `bytes` below `folder` while `use` has a bare repository on it, which keeps `reserve` free. */
export async function onSmallDisk(
  folder: string,
  bytes: number,
  [key, value]: readonly [key: string, value: string],
  use: (repository: string) => Promise<void>,
): Promise<void> {
  const disk = await mkdtemp(join(folder, 'disk-'));
  await run('mount', '-t', 'tmpfs', '-o', `size=${bytes}`, 'tmpfs', disk);
  try {
    const repository = join(disk, 'repo');
    await run('ostree', 'init', `--repo=${repository}`, '--mode=bare');
    await run('ostree', 'config', `--repo=${repository}`, 'set', `core.${key}`, value);
    await use(repository);
  } finally {
    await run('umount', disk);
  }
}

export async function freeBytes(path: string): Promise<number> {
  return Number(await run('stat', '-f', '-c', '%a', path)) * Number(await run('stat', '-f', '-c', '%S', path));
}

/** Fills the disk beside the repository so that `bytes` stay free; a second call replaces what the first has put there. */
export async function leaveFree(repository: string, bytes: number): Promise<void> {
  const ballast = join(repository, '../ballast');
  await run('rm', '-f', ballast);
  await run('fallocate', '-l', `${Math.floor((await freeBytes(repository)) - bytes)}`, ballast);
}
