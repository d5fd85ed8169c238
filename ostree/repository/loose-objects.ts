/** The objects that a repository holds, as they lie on disk. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { ioError, systemErrorCode } from '../errors.ts';
import { isChecksum, type ObjectType } from '../objects/object-name.ts';
import type { RepositoryMode } from './config.ts';

export interface LooseObject {
  readonly checksum: string;
  /** Of the file's name: an ObjectType, or that of what accompanies objects, such as `commitmeta`. */
  readonly extension: string;
}

/** The two digits by which objects are spread over directories. */
export const OBJECT_PREFIXES: readonly string[] = Array.from({ length: 256 }, (_, index) =>
  index.toString(16).padStart(2, '0'),
);

/** What a pull that was killed leaves before its first layer: a commit with an empty tree, and little else. */
const PREFIXES_WITHOUT_FILES = 8;

/** The prefixes of which a repository has a directory. */
export function storedPrefixes(repository: string): readonly string[] {
  try {
    return readdirSync(join(repository, 'objects'));
  } catch (error) {
    throw ioError(`list the objects of ${repository}`, error);
  }
}

/** Whether a repository has no content yet. A look at few directories: one that has more is taken to have content. */
export function holdsNoFiles(repository: string): boolean {
  const prefixes = storedPrefixes(repository);
  if (prefixes.length > PREFIXES_WITHOUT_FILES) return false;
  return !prefixes.some((prefix) => looseNames(repository, prefix).some((name) => /\.filez?$/.test(name)));
}

/** All of one directory; what is not named like an object is left out. */
export function listLooseObjects(repository: string, prefix: string): readonly LooseObject[] {
  return looseNames(repository, prefix).flatMap((name) => {
    const dot = name.indexOf('.');
    const checksum = `${prefix}${name.slice(0, dot)}`;
    return isChecksum(checksum) ? [{ checksum, extension: name.slice(dot + 1) }] : [];
  });
}

/** The names in one of the 256 directories, whatever they are; none if there is no such directory. */
export function looseNames(repository: string, prefix: string): readonly string[] {
  try {
    return readdirSync(join(repository, 'objects', prefix));
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return [];
    throw ioError(`list the objects of ${repository}`, error);
  }
}

/** The type of object that files of this extension are in a repository of `mode`; undefined for what is no object. */
export function objectTypeOf(extension: string, mode: RepositoryMode): ObjectType | undefined {
  switch (extension) {
    case 'commit':
    case 'dirtree':
    case 'dirmeta':
      return extension;
    case 'file':
      return mode === 'archive' ? undefined : 'file';
    case 'filez':
      return mode === 'archive' ? 'file' : undefined;
    default:
      return undefined;
  }
}

/** The inverse of `objectTypeOf`. */
export function extensionOf(type: ObjectType, mode: RepositoryMode): string {
  return type === 'file' && mode === 'archive' ? 'filez' : type;
}
