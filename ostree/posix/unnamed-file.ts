/**
 * Files that have no name until they are complete: `O_TMPFILE`, then `linkat`. A process killed half-way leaves
 * nothing behind, and nobody can see a half-written file. open(2).
 */
import { constants, openSync } from 'node:fs';
import { lastError, libc } from './libc.ts';

// Node does not name it. The value is the same on x86-64 and arm64, except for the O_DIRECTORY bit that it includes.
const O_TMPFILE = 0o20000000 | constants.O_DIRECTORY;
const AT_FDCWD = -100;
const AT_SYMLINK_FOLLOW = 0x400;

/** Opens a new unnamed file for writing on the file system of `directory`; closing it discards it. @param mode less the umask */
export function openUnnamed(directory: string, mode: number): number {
  return openSync(directory, O_TMPFILE | constants.O_WRONLY, mode);
}

/** Gives an unnamed file its name. Returns false if the name is already taken. */
export function linkUnnamed(fd: number, path: string): boolean {
  if (libc().linkat(AT_FDCWD, `/proc/self/fd/${fd}`, AT_FDCWD, path, AT_SYMLINK_FOLLOW) === 0) return true;
  const error = lastError('linkat', path);
  if (error.code === 'EEXIST') return false;
  throw error;
}
