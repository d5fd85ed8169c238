/**
 * What a Linux file system can hold. A commit could hold more, and then no host could check it out, so a layer that goes
 * beyond is refused while it is read. Path lengths also bound how deep directories can be nested.
 *
 * Source: limits.h of Linux (NAME_MAX, PATH_MAX with its NUL, XATTR_NAME_MAX, XATTR_SIZE_MAX, XATTR_LIST_MAX).
 */
import type { Xattr } from '../objects/xattrs.ts';
import { ImportError } from './errors.ts';

export const MAX_NAME_BYTES = 255;
export const MAX_PATH_BYTES = 4095;
const MAX_XATTR_NAME_BYTES = 255;
const MAX_XATTR_VALUE_BYTES = 64 * 1024;
const MAX_XATTR_LIST_BYTES = 64 * 1024;
/** Code units that cannot take more than `MAX_NAME_BYTES` bytes in UTF-8. */
const SHORT = MAX_NAME_BYTES / 3;

/** @throws {ImportError} `InvalidLayer` if the relative path, or one of its names, is too long. */
export function requireStorablePath(path: string): void {
  if (path.length <= SHORT) return;
  if (Buffer.byteLength(path) > MAX_PATH_BYTES) {
    throw tooLong(`a path of ${Buffer.byteLength(path)} bytes`, path, MAX_PATH_BYTES);
  }
  for (const name of path.split('/')) {
    if (name.length <= SHORT || Buffer.byteLength(name) <= MAX_NAME_BYTES) continue;
    throw tooLong(`a name of ${Buffer.byteLength(name)} bytes`, name, MAX_NAME_BYTES);
  }
}

/** @throws {ImportError} `InvalidLayer` if the link at `path` points further than any can. */
export function requireStorableTarget(path: string, target: string): void {
  const length = target.length <= SHORT ? 0 : Buffer.byteLength(target);
  if (length > MAX_PATH_BYTES) {
    throw new ImportError(
      'InvalidLayer',
      `${path} is a symbolic link with a target of ${length} bytes; at most ${MAX_PATH_BYTES} can be stored`,
    );
  }
}

/** @throws {ImportError} `InvalidLayer` if the kernel would not take the attributes. */
export function requireStorableXattrs(path: string, xattrs: readonly Xattr[]): void {
  let listBytes = 0;
  for (const { name, value } of xattrs) {
    const nameBytes = Buffer.byteLength(name);
    listBytes += nameBytes + 1;
    if (nameBytes > MAX_XATTR_NAME_BYTES) {
      throw tooLong(`an extended attribute with a name of ${nameBytes} bytes`, name, MAX_XATTR_NAME_BYTES);
    }
    if (value.length > MAX_XATTR_VALUE_BYTES) {
      throw new ImportError(
        'InvalidLayer',
        `${path} has the extended attribute ${name} of ${value.length} bytes; at most ${MAX_XATTR_VALUE_BYTES} can be stored`,
      );
    }
  }
  if (listBytes > MAX_XATTR_LIST_BYTES) {
    throw new ImportError(
      'InvalidLayer',
      `${path} has ${xattrs.length} extended attributes, whose names take ${listBytes} bytes; at most ` +
        `${MAX_XATTR_LIST_BYTES} can be stored`,
    );
  }
}

function tooLong(what: string, text: string, limit: number): ImportError {
  return new ImportError(
    'InvalidLayer',
    `the layer has ${what}, ${JSON.stringify(`${text.slice(0, 60)}…`)}; at most ${limit} can be stored`,
  );
}
