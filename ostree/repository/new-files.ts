/**
 * What a new file in a directory gets by itself: its writer's user and mode but for the umask, or what the directory
 * prescribes (its group, its default ACL). Then only the rest has to be set, file by file.
 */
import { closeSync, constants, fchmodSync, fchownSync, fstatSync, openSync } from 'node:fs';
import { systemErrorCode } from '../errors.ts';
import { openUnnamed } from '../posix/unnamed-file.ts';

/** What `open` is asked for; the bits above it are set at the end, when nothing can clear them any more. */
const PERMISSIONS = 0o777;

export class NewFiles {
  readonly #directory: string;
  #given: { readonly uid: number; readonly gid: number; readonly withheld: number } | undefined;

  constructor(directory: string) {
    this.#directory = directory;
  }

  /** Opens a file without a name for writing; closing it discards it. Throws the system's errors, as all of these do. */
  createUnnamed(mode: number): number {
    return openUnnamed(this.#directory, mode & PERMISSIONS);
  }

  /** Opens a new file for writing; undefined if there is one of that name. */
  create(path: string, mode: number): number | undefined {
    try {
      return openSync(path, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, mode & PERMISSIONS);
    } catch (error) {
      if (systemErrorCode(error) === 'EEXIST') return undefined;
      throw error;
    }
  }

  /** Gives a file that was created with `mode` its owner, if it has another one, and all of that mode. */
  complete(fd: number, mode: number, owner?: { readonly uid: number; readonly gid: number }): void {
    const { uid, gid, withheld } = (this.#given ??= this.#probe());
    // In this order: a change of owner clears setuid bits.
    if (owner !== undefined && (owner.uid !== uid || owner.gid !== gid)) fchownSync(fd, owner.uid, owner.gid);
    if ((mode & (withheld | ~PERMISSIONS)) !== 0) fchmodSync(fd, mode);
  }

  #probe(): { readonly uid: number; readonly gid: number; readonly withheld: number } {
    const fd = this.createUnnamed(PERMISSIONS);
    try {
      const { uid, gid, mode } = fstatSync(fd);
      return { uid, gid, withheld: PERMISSIONS & ~mode };
    } finally {
      closeSync(fd);
    }
  }
}
