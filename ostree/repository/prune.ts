/**
 * Deletes the objects that nothing needs. In the order commits, directories, files, so that a process that is killed on
 * the way leaves no commit that lacks anything, which `ostree prune` does not promise.
 */
import { lstatSync, readlinkSync, rmSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ioError, systemErrorCode } from '../errors.ts';
import { variant } from '../gvariant/value.ts';
import { encodeDictionary } from '../objects/commit.ts';
import { looseObjectPath, type ObjectType } from '../objects/object-name.ts';
import { DurableFileSystem } from '../posix/sync.ts';
import type { LockOptions } from './lock.ts';
import { listLooseObjects, OBJECT_PREFIXES, objectTypeOf } from './loose-objects.ts';
import { reachableObjects } from './reachability.ts';
import type { Repository } from './repository.ts';

export interface PrunedObjects {
  readonly objects: number;
  /** Of files that had no other hard link: a deployment that still holds one keeps its space. */
  readonly bytes: number;
}

/** In this order. */
const TYPES = ['commit', 'dirtree', 'dirmeta', 'file'] as const satisfies readonly ObjectType[];

/**
 * Deletes what neither a ref nor one of the commits that `roots` returns needs. Holds the repository exclusively, so no
 * import and no other tool is writing meanwhile; `roots` is asked under that lock.
 *
 * @throws {OstreeError} `MissingObject` or `CorruptObject`, before anything is deleted, when a ref or a needed directory
 *   cannot be read; `LockTimeout` when somebody works with the repository for too long.
 */
export async function pruneObjects(
  repository: Repository,
  roots: () => Iterable<string> = () => [],
  options: LockOptions = {},
): Promise<PrunedObjects> {
  using _lock = await repository.lock('exclusive', options);
  using fileSystem = new DurableFileSystem(repository.path);
  const needed = reachableObjects(repository, [...repository.listAllRefs().values(), ...roots()]);
  const found = findUnneeded(repository, (type, checksum) => needed[type].has(checksum));
  let objects = 0;
  let bytes = 0;
  const remove = (checksum: string, extension: string): void => {
    objects++;
    bytes += deleteFile(join(repository.path, 'objects', looseObjectPath(checksum, extension)));
  };
  // A power cut must not bring back a deleted ref without its commit,
  if (found.commit.length > 0) await fileSystem.sync();
  for (const type of TYPES) {
    for (const { checksum, extension } of found[type]) {
      if (type === 'commit') removeCommitState(repository, checksum);
      remove(checksum, extension);
    }
    // nor a commit without what it refers to.
    if (type === 'commit' && found.commit.length > 0) await fileSystem.sync();
  }
  for (const { checksum, extension } of found.detached) {
    if (!repository.hasObject('commit', checksum)) remove(checksum, extension);
  }
  for (const { checksum, extension } of found.payloadLinks) {
    const path = join(repository.path, 'objects', looseObjectPath(checksum, extension));
    if (isDangling(path)) remove(checksum, extension);
  }
  return { objects, bytes };
}

interface FoundObject {
  readonly checksum: string;
  readonly extension: string;
}

type Unneeded = Record<ObjectType | 'detached' | 'payloadLinks', FoundObject[]>;

function findUnneeded(repository: Repository, isNeeded: (type: ObjectType, checksum: string) => boolean): Unneeded {
  const found: Unneeded = { commit: [], dirtree: [], dirmeta: [], file: [], detached: [], payloadLinks: [] };
  for (const prefix of OBJECT_PREFIXES) {
    for (const object of listLooseObjects(repository.path, prefix)) {
      const type = objectTypeOf(object.extension, repository.mode);
      if (type !== undefined) {
        if (!isNeeded(type, object.checksum)) found[type].push(object);
      } else if (object.extension === 'commitmeta') found.detached.push(object);
      else if (object.extension === 'payload-link') found.payloadLinks.push(object);
    }
  }
  return found;
}

/** A tombstone, where the repository wants them, tells mirrors that the commit was deleted and is not lost. */
function removeCommitState(repository: Repository, checksum: string): void {
  if (repository.config.tombstoneCommits) {
    const path = join(repository.path, 'objects', looseObjectPath(checksum, 'tombstone-commit'));
    const name = Buffer.from(`${checksum}\0`, 'latin1');
    writeFileSync(path, encodeDictionary([['commit', variant.bytes(name)]]));
  }
  rmSync(join(repository.path, 'state', `${checksum}.commitpartial`), { force: true });
}

/** Returns how many bytes that frees. */
function deleteFile(path: string): number {
  try {
    const { nlink, size } = lstatSync(path);
    unlinkSync(path);
    return nlink === 1 ? size : 0;
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return 0;
    throw ioError(`delete ${path}`, error);
  }
}

/** Links from the checksum of a content to a file with it; a writer makes them where `payload-link-threshold` is set. */
function isDangling(path: string): boolean {
  try {
    const target = join(path, '..', readlinkSync(path));
    return lstatSync(target, { throwIfNoEntry: false }) === undefined;
  } catch (error) {
    // Not a link: nothing that we know how to judge.
    if (systemErrorCode(error) === 'EINVAL') return false;
    throw ioError(`read ${path}`, error);
  }
}
