/** Durability without stalls: both calls run on libuv's or koffi's threads, never on the caller's. */
import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { libc } from './libc.ts';
import { ioError } from '../errors.ts';

/** Writes out everything that is dirty on the file system of `directory`. syncfs(2). */
export async function syncFileSystem(directory: string): Promise<void> {
  await using handle = await open(directory, constants.O_RDONLY | constants.O_DIRECTORY);
  await new Promise<void>((resolve, reject) => {
    libc().syncfs.async(handle.fd, (error, result) => {
      if (error !== null) reject(error);
      else if (result !== 0) reject(ioError(`write out the file system of ${directory}`, new Error('syncfs failed')));
      else resolve();
    });
  });
}

/** Makes the names in `directory` durable. fsync(2). */
export async function syncDirectory(directory: string): Promise<void> {
  await using handle = await open(directory, constants.O_RDONLY | constants.O_DIRECTORY);
  await handle.sync();
}
