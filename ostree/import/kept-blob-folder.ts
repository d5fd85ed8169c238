/**
 * Where a repository has the parts of blobs that pulls keep: a file for each blob, locked while a pull uses it. They save
 * time and nothing else, so that they are the first to give way where space is short.
 */
import { closeSync, constants, fstatSync, mkdirSync, openSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { ioError, systemErrorCode } from '../errors.ts';
import { tryLock } from '../posix/file-lock.ts';
import type { Repository } from '../repository/repository.ts';

/** libostree deletes what is in here and a day old. */
const FOLDER = 'tmp/treeline-blobs';
/** Of `st_blocks`, on any file system. */
const STAT_BLOCK_BYTES = 512;

/** The file for the blob of that digest. */
export function keptBlobPath(repository: Repository, digest: string): string {
  return join(repository.path, FOLDER, fileName(digest));
}

/** A descriptor of the blob's file with an exclusive lock, or undefined if there is none, or another pull uses it. */
export function lockKeptBlob(repository: Repository, digest: string): number | undefined {
  return lockedFile(keptBlobPath(repository, digest), constants.O_RDWR);
}

/** The same; makes the file if there is none. */
export function createKeptBlob(repository: Repository, digest: string): number | undefined {
  mkdirSync(join(repository.path, FOLDER), { recursive: true });
  return lockedFile(keptBlobPath(repository, digest), constants.O_RDWR | constants.O_CREAT);
}

/** Bytes of the disk that `dropKeptBlobs` would free. */
export function droppableBytes(repository: Repository): number {
  return forEachUnused(repository, () => undefined);
}

/**
 * Deletes what pulls have kept and nobody uses. Returns how many bytes of the disk that frees.
 *
 * @param except digests of blobs of which nothing is deleted
 */
export function dropKeptBlobs(repository: Repository, except: Iterable<string> = []): number {
  const staying = new Set([...except].map((digest) => fileName(digest)));
  return forEachUnused(
    repository,
    (path) => {
      try {
        rmSync(path, { force: true });
      } catch (error) {
        throw ioError(`delete ${path}`, error);
      }
    },
    staying,
  );
}

/** Returns how many bytes of the disk they have. */
function forEachUnused(
  repository: Repository,
  act: (path: string) => void,
  except: ReadonlySet<string> = new Set(),
): number {
  const folder = join(repository.path, FOLDER);
  let bytes = 0;
  for (const name of namesIn(folder)) {
    if (except.has(name)) continue;
    const path = join(folder, name);
    const fd = lockedFile(path, constants.O_RDWR);
    if (fd === undefined) continue;
    try {
      const occupied = fstatSync(fd).blocks * STAT_BLOCK_BYTES;
      act(path);
      bytes += occupied;
    } finally {
      closeSync(fd);
    }
  }
  return bytes;
}

function fileName(digest: string): string {
  return digest.replace(':', '-');
}

/** A descriptor with an exclusive lock, or undefined when there is no such file, or somebody else has locked it. */
function lockedFile(path: string, flags: number): number | undefined {
  let fd: number;
  try {
    fd = openSync(path, flags | constants.O_NOFOLLOW, 0o600);
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return undefined;
    throw ioError(`open ${path}`, error);
  }
  // Whoever held the lock may have deleted the file in the meantime.
  if (tryLock(fd, 'exclusive') && fstatSync(fd).nlink > 0) return fd;
  closeSync(fd);
  return undefined;
}

function namesIn(folder: string): readonly string[] {
  try {
    return readdirSync(folder);
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return [];
    throw ioError(`list ${folder}`, error);
  }
}
