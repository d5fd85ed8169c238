/** Objects of a repository together with those that wait in staging directories to become part of it. */
import { readFileSync } from 'node:fs';
import { ioError, OstreeError, systemErrorCode } from '../errors.ts';
import { decodeCommit, metadataChecksum, type Commit } from '../objects/commit.ts';
import { ChecksumSet } from '../objects/checksum-set.ts';
import { isChecksum, type MetadataType, type ObjectType } from '../objects/object-name.ts';
import { PackedDirtree } from '../objects/packed-dirtree.ts';
import { directoryNames } from './directory-names.ts';
import { extensionOf } from './loose-objects.ts';
import { stagedObjectPath } from './object-writer.ts';
import type { Repository } from './repository.ts';
import { StoredNames } from './stored-names.ts';

/** What a tree can be looked at in. */
export interface ObjectSource {
  hasObject(type: ObjectType, checksum: string): boolean;
  /** The same for the checksum of which the 32 bytes lie at `at`. */
  hasObjectOf(type: ObjectType, bytes: Buffer, at: number): boolean;
  readDirtree(checksum: string): PackedDirtree;
}

/** Use it under the repository's lock. */
export class StagedObjects implements ObjectSource {
  readonly #repository: Repository;
  readonly #stored: StoredNames;
  readonly #stagingPaths: readonly string[];
  /** By extension, each with the index of its staging directory, as it was at the start: what is moved since is in the repository. */
  readonly #staged = new Map<string, ChecksumSet>();

  /** Throws what reading the staging directories throws. */
  constructor(repository: Repository, stagingPaths: readonly string[]) {
    this.#repository = repository;
    this.#stored = new StoredNames(repository);
    this.#stagingPaths = stagingPaths;
    stagingPaths.forEach((path, index) => this.#list(path, index));
  }

  hasObject(type: ObjectType, checksum: string): boolean {
    const staged = this.#staged.get(extensionOf(type, this.#repository.mode));
    return staged?.has(checksum) === true || this.#stored.has(type, checksum);
  }

  hasObjectOf(type: ObjectType, bytes: Buffer, at: number): boolean {
    const staged = this.#staged.get(extensionOf(type, this.#repository.mode));
    return staged?.hasBytes(bytes, at) === true || this.#stored.hasBytes(type, bytes, at);
  }

  /** The bytes of a commit. Throws MissingObject or CorruptObject. */
  readCommitBytes(checksum: string): Buffer {
    return this.#read('commit', checksum) ?? this.#repository.readMetadata('commit', checksum);
  }

  /** Throws MissingObject or CorruptObject. */
  readCommit(checksum: string): Commit {
    const bytes = this.#read('commit', checksum);
    return bytes === undefined ? this.#repository.readCommit(checksum) : decodeCommit(bytes);
  }

  /** Throws MissingObject or CorruptObject. */
  readDirtree(checksum: string): PackedDirtree {
    const bytes = this.#read('dirtree', checksum);
    return bytes === undefined ? this.#repository.readPackedDirtree(checksum) : new PackedDirtree(bytes);
  }

  /** Takes in what a staging directory holds; nothing when its transaction has been committed in the meantime. */
  #list(path: string, index: number): void {
    try {
      for (const name of directoryNames(path)) {
        const dot = name.indexOf('.');
        const checksum = name.slice(0, dot);
        if (!isChecksum(checksum)) continue;
        const extension = name.slice(dot + 1);
        const known = this.#staged.get(extension);
        const staged = known ?? new ChecksumSet();
        if (known === undefined) this.#staged.set(extension, staged);
        staged.add(checksum, index);
      }
    } catch (error) {
      if (systemErrorCode(error) !== 'ENOENT') throw ioError(`read the staging directory ${path}`, error);
    }
  }

  #read(type: MetadataType, checksum: string): Buffer | undefined {
    const stagingPath = this.#stagingPaths[this.#staged.get(type)?.note(checksum) ?? -1];
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
