/**
 * Every way in which working with an OSTree repository or a stored image can fail, as one class with a closed set of
 * codes, so that callers can turn each into a condition reason or an exit status without reading messages.
 */
import { getSystemErrorName } from 'node:util';

export type OstreeErrorCode =
  /** The path holds no OSTree repository. Check the path, or create one with `ostree init`. */
  | 'NotARepository'
  /** The repository's mode or version is one that the operation cannot use. Use one of mode `bare`, `bare-user` or `archive`. */
  | 'UnsupportedMode'
  /** The repository's `config` asks for something that cannot be given. The message names the key. */
  | 'UnsupportedConfig'
  /** An object's bytes do not match its name or its format. Run `ostree fsck`, then pull the image again. */
  | 'CorruptObject'
  /** An object that another one refers to is not there. Pull the image again. */
  | 'MissingObject'
  /** No such ref, or no such commit. List them with `ostree refs`. */
  | 'RefNotFound'
  /** The text is not a ref name that libostree accepts. */
  | 'InvalidRef'
  /** Bytes or values that do not follow the format they claim to be in. */
  | 'InvalidData'
  /** Somebody else held a lock for longer than we wait. Find the holder, or try again later. */
  | 'LockTimeout'
  /** Writing would eat into the space that the repository keeps free. Free space, or lower `core.min-free-space-*`. */
  | 'NoSpace'
  /** The file system is mounted read-only. Remount it, or run as root in the host's mount namespace. */
  | 'ReadOnly'
  /** The process lacks the rights for the operation. Run as root. */
  | 'PermissionDenied'
  /** The operating system refused in a way that fits no other code; `cause` has the details. */
  | 'Io';

export interface SpaceShortage {
  /** An estimate. */
  readonly neededBytes: number;
  /** What may be written without eating into the reserve. */
  readonly availableBytes: number;
}

/** An error of this room. The message names the object and says what to do next. */
export class OstreeError extends Error {
  override readonly name = 'OstreeError';
  readonly code: OstreeErrorCode;
  /** With `NoSpace`, when it was foreseen. */
  readonly space: SpaceShortage | undefined;

  constructor(code: OstreeErrorCode, message: string, options?: ErrorOptions & { readonly space?: SpaceShortage }) {
    super(message, options);
    this.code = code;
    this.space = options?.space;
  }
}

/** The `code` of a system error (`ENOENT`, `EEXIST`, …), or undefined for any other value. */
export function systemErrorCode(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error) || typeof error.code !== 'string') return undefined;
  // rmSync knows the number of every error, but not every name (Node 26).
  if (error.code === '' && 'errno' in error && typeof error.errno === 'number') {
    return getSystemErrorName(-Math.abs(error.errno));
  }
  return error.code;
}

/** Turns a system error into an OstreeError whose code tells what a person can do; `doing` completes "Cannot …". */
export function ioError(doing: string, error: unknown): OstreeError {
  if (error instanceof OstreeError) return error;
  const reason = error instanceof Error ? error.message : String(error);
  switch (systemErrorCode(error)) {
    case 'ENOSPC':
    case 'EDQUOT':
      return new OstreeError('NoSpace', `Cannot ${doing}: the file system is full; free some space and try again`, {
        cause: error,
      });
    case 'EROFS':
      return new OstreeError(
        'ReadOnly',
        `Cannot ${doing}: the file system is mounted read-only; remount it read-write and try again`,
        { cause: error },
      );
    case 'EACCES':
    case 'EPERM':
      return new OstreeError('PermissionDenied', `Cannot ${doing}: ${reason}; run this as root`, { cause: error });
    default:
      return new OstreeError('Io', `Cannot ${doing}: ${reason}`, { cause: error });
  }
}
