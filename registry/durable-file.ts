/** Files that are either whole or not there: written beside their place, flushed, then renamed into it. */
import { randomBytes } from 'node:crypto';
import { type FileHandle, open, readdir, rename, stat, unlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { reasonOf, RegistryError } from './errors.ts';

/** See `writeDurably`. */
const LEFTOVER = /^\..+\.[0-9a-f]{12}\.partial$/;

/**
 * Calls `write` with a new file, then puts that file at `path`. When `write` fails nothing is left behind; a killed
 * process leaves a `.…partial` file at most.
 * @param scratch directory on the same file system for the unfinished file.
 * @throws RegistryError `WriteFailed`, or whatever `write` throws.
 */
export async function writeDurably(
  path: string,
  write: (handle: FileHandle) => Promise<void>,
  scratch: string = dirname(path),
): Promise<void> {
  const partial = join(scratch, `.${basename(path)}.${randomBytes(6).toString('hex')}.partial`);
  try {
    {
      await using handle = await open(partial, 'wx', 0o644);
      await write(handle);
      await handle.sync();
    }
    await rename(partial, path);
    await syncDirectory(dirname(path));
  } catch (error) {
    await unlink(partial).catch(() => undefined);
    throw writeError(path, error);
  }
}

/**
 * Deletes what killed processes left in `scratch`: unfinished files that nobody has written to for so long.
 * @param before milliseconds since the epoch.
 */
export async function removeLeftovers(scratch: string, before: number): Promise<void> {
  const names = await readdir(scratch).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw writeError(scratch, error);
  });
  for (const path of names.filter((name) => LEFTOVER.test(name)).map((name) => join(scratch, name))) {
    const found = await stat(path).catch(() => undefined);
    // Somebody else may be cleaning up, too.
    if (found !== undefined && found.mtimeMs < before) await unlink(path).catch(() => undefined);
  }
}

/** A rename survives a power cut only when its directory was flushed too. */
export async function syncDirectory(path: string): Promise<void> {
  await using handle = await open(path, 'r');
  await handle.sync();
}

/** Names what a disk refused; errors that are not the disk's pass through. */
export function writeError(path: string, error: unknown): unknown {
  if (error instanceof RegistryError || !(error instanceof Error) || !('syscall' in error)) return error;
  const code = 'code' in error ? error.code : undefined;
  const next =
    code === 'ENOSPC' || code === 'EDQUOT'
      ? 'the disk is full; free some space'
      : code === 'EROFS'
        ? 'the file system is read-only; choose another place'
        : 'check the path and its permissions';
  return new RegistryError('WriteFailed', `${path} cannot be written (${reasonOf(error)}): ${next}.`, error);
}
