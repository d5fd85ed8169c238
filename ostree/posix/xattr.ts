/** Extended attributes of files, byte for byte. xattr(7). */
import type { Xattr } from '../objects/xattrs.ts';
import { canonicalXattrs, NO_XATTRS } from '../objects/xattrs.ts';
import { lastError, libc } from './libc.ts';

// Linux limits both a value and a list of names to 64 KiB, so that one buffer per thread is always enough.
const XATTR_SIZE_MAX = 65_536;
let scratch: Buffer | undefined;

function buffer(): Buffer {
  scratch ??= Buffer.alloc(XATTR_SIZE_MAX);
  return scratch;
}

/** Sets one attribute of an open file. */
export function setXattr(fd: number, name: string, value: Buffer): void {
  if (libc().fsetxattr(fd, name, value, value.length, 0) !== 0) throw lastError(`fsetxattr ${name}`);
}

/** Sets one attribute of a file without following a symbolic link. */
export function setLinkXattr(path: string, name: string, value: Buffer): void {
  if (libc().lsetxattr(path, name, value, value.length, 0) !== 0) throw lastError(`lsetxattr ${name}`, path);
}

/** One attribute of an open file, or undefined if it has none of that name. */
export function getXattr(fd: number, name: string): Buffer | undefined {
  const size = libc().fgetxattr(fd, name, buffer(), XATTR_SIZE_MAX);
  if (size >= 0) return Buffer.from(buffer().subarray(0, size));
  const error = lastError(`fgetxattr ${name}`);
  if (error.code === 'ENODATA') return undefined;
  throw error;
}

/** All attributes of an open file in canonical order. A file system without attributes has none. */
export function listXattrs(fd: number): readonly Xattr[] {
  const size = libc().flistxattr(fd, buffer(), XATTR_SIZE_MAX);
  if (size === 0) return NO_XATTRS;
  if (size < 0) return noneOrThrow(lastError('flistxattr'));
  return collect(names(size), (name) => getXattr(fd, name));
}

/** All attributes of a file in canonical order, without following a symbolic link. */
export function listLinkXattrs(path: string): readonly Xattr[] {
  const size = libc().llistxattr(path, buffer(), XATTR_SIZE_MAX);
  if (size === 0) return NO_XATTRS;
  if (size < 0) return noneOrThrow(lastError('llistxattr', path));
  return collect(names(size), (name) => {
    const length = libc().lgetxattr(path, name, buffer(), XATTR_SIZE_MAX);
    if (length < 0) throw lastError(`lgetxattr ${name}`, path);
    return Buffer.from(buffer().subarray(0, length));
  });
}

function noneOrThrow(error: NodeJS.ErrnoException): readonly Xattr[] {
  if (error.code === 'ENOTSUP' || error.code === 'EOPNOTSUPP') return NO_XATTRS;
  throw error;
}

function names(size: number): readonly string[] {
  return buffer()
    .toString('utf8', 0, size - 1)
    .split('\0');
}

function collect(names: readonly string[], read: (name: string) => Buffer | undefined): readonly Xattr[] {
  const list = names.flatMap((name) => {
    const value = read(name);
    return value === undefined ? [] : [{ name, value }];
  });
  return canonicalXattrs(list);
}
