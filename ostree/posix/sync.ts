/** Durability without stalls: both calls run on libuv's or koffi's threads, never on the caller's. */
import { closeSync, constants, openSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { libc } from './libc.ts';
import { ioError } from '../errors.ts';

/**
 * A file system of which everything dirty can be written out. Open it before the first write: the kernel also writes on
 * its own, and when that fails it tells everyone who had the file system open by then, once, and nobody who comes later.
 * syncfs(2), "since Linux 5.8".
 */
export class DurableFileSystem implements Disposable {
  readonly #directory: string;
  #fd: number | undefined;

  /** @param directory any one on the file system */
  constructor(directory: string) {
    this.#directory = directory;
    try {
      this.#fd = openSync(directory, constants.O_RDONLY | constants.O_DIRECTORY);
    } catch (error) {
      throw ioError(`open ${directory}`, error);
    }
  }

  /** Writes out what is dirty. Throws Io if anything written since the opening may not be on the disk. */
  async sync(): Promise<void> {
    const fd = this.#fd;
    if (fd === undefined) throw new Error(`the file system of ${this.#directory} has been closed`);
    await new Promise<void>((resolve, reject) => {
      libc().syncfs.async(fd, (error, result) => {
        if (error !== null) reject(error);
        else if (result === 0) resolve();
        else {
          const cause = new Error("the disk did not take all of it; see the kernel's log");
          reject(ioError(`write out the file system of ${this.#directory}`, cause));
        }
      });
    });
  }

  [Symbol.dispose](): void {
    const fd = this.#fd;
    this.#fd = undefined;
    if (fd !== undefined) closeSync(fd);
  }
}

/** Makes the names in `directory` durable. fsync(2). Throws Io if the disk does not take them. */
export async function syncDirectory(directory: string): Promise<void> {
  try {
    await using handle = await open(directory, constants.O_RDONLY | constants.O_DIRECTORY);
    await handle.sync();
  } catch (error) {
    throw ioError(`write out ${directory}`, error);
  }
}
