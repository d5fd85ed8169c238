/** Objects of a repository together with those that wait in staging directories to become part of it. */
import { readdirSync, readFileSync } from 'node:fs';
import { ioError, OstreeError, systemErrorCode } from '../errors.ts';
import { decodeCommit, metadataChecksum, type Commit } from '../objects/commit.ts';
import { decodeDirtree, type Dirtree } from '../objects/dirtree.ts';
import type { MetadataType, ObjectType } from '../objects/object-name.ts';
import { extensionOf } from './loose-objects.ts';
import { stagedObjectPath } from './object-writer.ts';
import type { Repository } from './repository.ts';

/** What a tree can be looked at in: a Repository, with or without what is staged for it. */
export interface ObjectSource {
  hasObject(type: ObjectType, checksum: string): boolean;
  readDirtree(checksum: string): Dirtree;
}

export class StagedObjects implements ObjectSource {
  readonly #repository: Repository;
  /** Staging directory by name of the object in it, as it was at the start: what is moved since is in the repository. */
  readonly #staged = new Map<string, string>();

  /** Throws what reading the staging directories throws. */
  constructor(repository: Repository, stagingPaths: readonly string[]) {
    this.#repository = repository;
    for (const path of stagingPaths) {
      for (const name of readDirectory(path)) this.#staged.set(name, path);
    }
  }

  hasObject(type: ObjectType, checksum: string): boolean {
    const name = `${checksum}.${extensionOf(type, this.#repository.mode)}`;
    return this.#staged.has(name) || this.#repository.hasObject(type, checksum);
  }

  /** Throws MissingObject or CorruptObject. */
  readCommit(checksum: string): Commit {
    const bytes = this.#read('commit', checksum);
    return bytes === undefined ? this.#repository.readCommit(checksum) : decodeCommit(bytes);
  }

  /** Throws MissingObject or CorruptObject. */
  readDirtree(checksum: string): Dirtree {
    const bytes = this.#read('dirtree', checksum);
    return bytes === undefined ? this.#repository.readDirtree(checksum) : decodeDirtree(bytes);
  }

  #read(type: MetadataType, checksum: string): Buffer | undefined {
    const stagingPath = this.#staged.get(`${checksum}.${type}`);
    if (stagingPath === undefined) return undefined;
    let bytes: Buffer;
    try {
      bytes = readFileSync(stagedObjectPath(stagingPath, type, checksum));
    } catch (error) {
      if (systemErrorCode(error) === 'ENOENT') return undefined;
      throw ioError(`read the staged object ${checksum}.${type}`, error);
    }
    if (metadataChecksum(bytes) === checksum) return bytes;
    throw new OstreeError('CorruptObject', `The staged object ${checksum}.${type} is corrupt; pull the image again`);
  }
}

/** The names in a staging directory; none when its transaction has been committed in the meantime. */
function readDirectory(path: string): readonly string[] {
  try {
    return readdirSync(path);
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return [];
    throw ioError(`read the staging directory ${path}`, error);
  }
}
