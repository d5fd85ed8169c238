/** Objects of a repository together with those that wait in staging directories to become part of it. */
import { readFileSync } from 'node:fs';
import { ioError, OstreeError, systemErrorCode } from '../errors.ts';
import { decodeCommit, metadataChecksum, type Commit } from '../objects/commit.ts';
import { ChecksumSet } from '../objects/checksum-set.ts';
import { isChecksum, type MetadataType, type ObjectType } from '../objects/object-name.ts';
import { PackedDirtree } from '../objects/packed-dirtree.ts';
import { directoryNames } from './directory-names.ts';
import { extensionOf } from './loose-objects.ts';
import type { Repository } from './repository.ts';
import { prefixOfDirectory, stagedObjectPath, type StagedIn } from './staged-place.ts';
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
  readonly #directories: ReadonlyMap<string, Buffer>;
  readonly #stagedIn: readonly StagedIn[];
  /** By extension, each with the index of its staging directory, as it was at the start: what is moved since is in the repository. */
  readonly #staged = new Map<string, ChecksumSet>();

  /**
   * Throws what reading the staging directories throws.
   *
   * @param directories dirtree objects by checksum, verified, that need not be read
   */
  constructor(
    repository: Repository,
    stagingPaths: readonly string[],
    directories: ReadonlyMap<string, Buffer> = new Map(),
  ) {
    this.#directories = directories;
    this.#repository = repository;
    this.#stored = new StoredNames(repository);
    this.#stagedIn = stagingPaths.map((path, index) => this.#list(path, index));
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
    const bytes = this.#directories.get(checksum) ?? this.#read('dirtree', checksum);
    return bytes === undefined ? this.#repository.readPackedDirtree(checksum) : new PackedDirtree(bytes);
  }

  /** Takes in what a staging directory holds; nothing when its transaction has been committed in the meantime. */
  #list(stagingPath: string, index: number): StagedIn {
    let layout: StagedIn['layout'] = 'together';
    for (const name of namesIn(stagingPath)) {
      const prefix = prefixOfDirectory(name);
      if (prefix === undefined) {
        this.#add(name, index);
      } else {
        layout = 'by-prefix';
        for (const rest of namesIn(`${stagingPath}/${name}`)) this.#add(prefix + rest, index);
      }
    }
    return { stagingPath, layout };
  }

  #add(name: string, index: number): void {
    const dot = name.indexOf('.');
    const checksum = name.slice(0, dot);
    if (!isChecksum(checksum)) return;
    const extension = name.slice(dot + 1);
    const known = this.#staged.get(extension);
    const staged = known ?? new ChecksumSet();
    if (known === undefined) this.#staged.set(extension, staged);
    staged.add(checksum, index);
  }

  #read(type: MetadataType, checksum: string): Buffer | undefined {
    const stagedIn = this.#stagedIn[this.#staged.get(type)?.note(checksum) ?? -1];
    if (stagedIn === undefined) return undefined;
    let bytes: Buffer;
    try {
      bytes = readFileSync(stagedObjectPath(stagedIn, type, checksum));
    } catch (error) {
      if (systemErrorCode(error) === 'ENOENT') return undefined;
      throw ioError(`read the staged object ${checksum}.${type}`, error);
    }
    if (metadataChecksum(bytes) === checksum) return bytes;
    throw new OstreeError('CorruptObject', `The staged object ${checksum}.${type} is corrupt; pull the image again`);
  }
}

/** Of a directory of staged objects; none when it has become part of the repository. */
function* namesIn(path: string): Generator<string> {
  try {
    yield* directoryNames(path);
  } catch (error) {
    if (systemErrorCode(error) !== 'ENOENT') throw ioError(`read the staging directory ${path}`, error);
  }
}
