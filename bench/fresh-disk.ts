/**
 * A new ext4 in a sparse file, mounted by loop. On a file system with a past, ext4 looks for inodes that were not freed
 * in the last minutes before it makes a file, which costs up to half a millisecond each and hides what is measured.
 * The npm scripts run in a mount namespace of their own, so that mounts end with them, however they end.
 */
import { mkdtemp, rmdir, truncate, unlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runCommand } from '../tools/setup/command.ts';

export interface FreshDisk extends AsyncDisposable {
  /** Where it is mounted; disposing of it unmounts it and deletes everything in it. */
  readonly path: string;
}

/** Makes and mounts it; needs root. `bytes` is what it can hold; the file grows with what is written. */
export async function makeFreshDisk(bytes: number): Promise<FreshDisk> {
  const folder = await mkdtemp(join(tmpdir(), 'treeline-bench-'));
  const image = `${folder}.ext4`;
  await writeFile(image, '');
  await truncate(image, bytes);
  await runCommand('mkfs.ext4', ['-q', '-F', image]);
  // Without noinit_itable the kernel goes on making the file system in the background while we measure.
  await runCommand('mount', ['-o', 'loop,noinit_itable', image, folder]);
  // From here on the mount alone holds it: whoever is killed leaves no file of gigabytes behind.
  await unlink(image);
  return {
    path: folder,
    async [Symbol.asyncDispose]() {
      await runCommand('umount', [folder]);
      await rmdir(folder);
    },
  };
}
