/** An OSTree repository on disk: the one object through which everything else in this room reads and begins to write. */
import { existsSync, lstatSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { ioError, OstreeError, systemErrorCode } from '../errors.ts';
import type { VariantDictionary } from '../gvariant/value.ts';
import { decodeCommit, decodeDictionary, encodeDictionary, metadataChecksum, type Commit } from '../objects/commit.ts';
import { decodeDirectoryMetadata, type DirectoryMetadata } from '../objects/dirmeta.ts';
import { decodeDirtree, type Dirtree } from '../objects/dirtree.ts';
import { isChecksum, looseObjectPath, type MetadataType, type ObjectType } from '../objects/object-name.ts';
import { PackedDirtree } from '../objects/packed-dirtree.ts';
import type { LockKind } from '../posix/file-lock.ts';
import { newConfigText, parseConfig, requireWritable, type RepositoryConfig, type RepositoryMode } from './config.ts';
import { lockRepository, type HeldLock, type LockOptions } from './lock.ts';
import { extensionOf } from './loose-objects.ts';
import { announceChange, deleteRef, findRef, listAllRefs, listRefs, readRef, removeRef, writeRef } from './refs.ts';
import { createStagingDirectory, deleteAbandonedStaging, inStagingDirectory } from './staging-directory.ts';
import { openStoredFile, type StoredFile } from './stored-file.ts';
import { Transaction, type TransactionOptions } from './transaction.ts';

const DIRECTORIES = [
  'extensions',
  'objects',
  'refs/heads',
  'refs/mirrors',
  'refs/remotes',
  'state',
  'tmp/cache',
] as const;

export class Repository {
  readonly path: string;
  readonly config: RepositoryConfig;

  private constructor(path: string, config: RepositoryConfig) {
    this.path = path;
    this.config = config;
  }

  /** Opens the repository at `path`. Throws NotARepository, UnsupportedMode or UnsupportedConfig. Cheap: each thread may open its own. */
  static open(path: string): Repository {
    let text: string;
    try {
      text = readFileSync(join(path, 'config'), 'utf8');
    } catch (error) {
      if (systemErrorCode(error) !== 'ENOENT' && systemErrorCode(error) !== 'ENOTDIR') {
        throw ioError(`open the repository ${path}`, error);
      }
      throw new OstreeError('NotARepository', `${path} is not an OSTree repository; check the path`, { cause: error });
    }
    return new Repository(path, parseConfig(text, path));
  }

  /** Creates a repository, or opens the one that is there. Throws UnsupportedMode if that one has another mode. */
  static create(path: string, mode: RepositoryMode): Repository {
    if (!existsSync(join(path, 'config'))) {
      try {
        for (const directory of DIRECTORIES) mkdirSync(join(path, directory), { recursive: true });
        replaceFile(path, join(path, 'config'), Buffer.from(newConfigText(mode)));
      } catch (error) {
        throw ioError(`create the repository ${path}`, error);
      }
    }
    const repository = Repository.open(path);
    if (repository.mode === mode) return repository;
    throw new OstreeError(
      'UnsupportedMode',
      `The repository ${path} exists and has mode ${repository.mode}, not ${mode}`,
    );
  }

  get mode(): RepositoryMode {
    return this.config.mode;
  }

  /** Where a loose object lies, whether or not it is there. */
  objectPath(type: ObjectType, checksum: string): string {
    return `${this.path}/objects/${looseObjectPath(checksum, extensionOf(type, this.mode))}`;
  }

  hasObject(type: ObjectType, checksum: string): boolean {
    try {
      return lstatSync(this.objectPath(type, checksum), { throwIfNoEntry: false }) !== undefined;
    } catch (error) {
      throw ioError(`look for the object ${checksum}.${type}`, error);
    }
  }

  /** The bytes of a metadata object, verified against their checksum. Throws MissingObject or CorruptObject. */
  readMetadata(type: MetadataType, checksum: string): Buffer {
    let bytes: Buffer;
    try {
      bytes = readFileSync(this.objectPath(type, checksum));
    } catch (error) {
      if (systemErrorCode(error) !== 'ENOENT') throw ioError(`read the object ${checksum}.${type}`, error);
      throw new OstreeError(
        'MissingObject',
        `The object ${checksum}.${type} is missing from ${this.path}; pull it again`,
        {
          cause: error,
        },
      );
    }
    if (metadataChecksum(bytes) !== checksum) throw this.#corrupt(type, checksum);
    return bytes;
  }

  readCommit(checksum: string): Commit {
    return this.#decode('commit', checksum, decodeCommit);
  }

  readDirtree(checksum: string): Dirtree {
    return this.#decode('dirtree', checksum, decodeDirtree);
  }

  /** The same without making text of it. */
  readPackedDirtree(checksum: string): PackedDirtree {
    return this.#decode('dirtree', checksum, (bytes) => new PackedDirtree(bytes));
  }

  readDirectoryMetadata(checksum: string): DirectoryMetadata {
    return this.#decode('dirmeta', checksum, decodeDirectoryMetadata);
  }

  /** Opens a content object; dispose of the result. Throws MissingObject or CorruptObject. */
  openFile(checksum: string): StoredFile {
    return openStoredFile(this.path, this.mode, checksum);
  }

  /** The checksum that `rev` means: a ref, `remote:ref`, or a checksum itself. Throws RefNotFound. */
  resolve(rev: string): string {
    const checksum = isChecksum(rev) ? rev : readRef(this.path, rev);
    if (checksum !== undefined && this.hasObject('commit', checksum)) return checksum;
    throw new OstreeError('RefNotFound', `${this.path} has no commit ${rev}; list the refs with \`ostree refs\``);
  }

  /** The checksum that a ref holds, if there is such a ref. Throws CorruptObject if it holds none. */
  readRef(name: string): string | undefined {
    return readRef(this.path, name);
  }

  /** The same, where a ref that holds no checksum is as good as none. */
  findRef(name: string): string | undefined {
    return findRef(this.path, name);
  }

  /** Local refs whose name is `prefix` or lies under it. Those that hold no checksum go to `onInvalid`, or are an error. */
  listRefs(prefix?: string, onInvalid?: (name: string) => void): ReadonlyMap<string, string> {
    return listRefs(this.path, prefix, onInvalid);
  }

  /** All refs of any kind, by their path below `refs`: local ones, those of remotes, and mirrored collections. Otherwise as above. */
  listAllRefs(onInvalid?: (path: string) => void): ReadonlyMap<string, string> {
    return listAllRefs(this.path, onInvalid);
  }

  /** Sets, or with undefined deletes, one ref outside any transaction, under the repository's lock. */
  async setRef(name: string, checksum: string | undefined, options?: LockOptions): Promise<void> {
    using _lock = await this.lock('shared', options);
    if (checksum === undefined) {
      await removeRef(this.path, name, this.config.fsync);
    } else {
      const staging = createStagingDirectory(this.path);
      try {
        await writeRef(this.path, staging.path, name, checksum, this.config.fsync);
      } catch (error) {
        // The next writer deletes what is left; why we stop matters more than that we could not.
        staging.release();
        throw error;
      }
      await staging.remove();
    }
    announceChange(this.path, new Date());
  }

  /** Deletes refs at once, without waiting for anything. The caller holds the repository's lock. */
  deleteRefs(names: readonly string[]): void {
    for (const name of names) deleteRef(this.path, name);
    announceChange(this.path, new Date());
  }

  /** Metadata about a commit that may change after it, such as signatures; undefined if there is none. */
  readDetachedMetadata(commit: string): VariantDictionary | undefined {
    const bytes = this.readDetachedMetadataBytes(commit);
    return bytes === undefined ? undefined : decodeDictionary(bytes);
  }

  /** The same, as the bytes of `a{sv}`. */
  readDetachedMetadataBytes(commit: string): Buffer | undefined {
    return readOptional(this.#detachedMetadataPath(commit));
  }

  /** Replaces all detached metadata of a commit; an empty dictionary deletes it. */
  writeDetachedMetadata(commit: string, metadata: VariantDictionary): void {
    const path = this.#detachedMetadataPath(commit);
    try {
      if (metadata.length === 0) {
        rmSync(path, { force: true });
      } else {
        mkdirSync(join(path, '..'), { recursive: true });
        const bytes = encodeDictionary(metadata);
        inStagingDirectory(this.path, (directory) => replaceFile(directory, path, bytes));
      }
    } catch (error) {
      throw ioError(`write the metadata of the commit ${commit}`, error);
    }
  }

  /** Whether objects of the commit may be missing: then `ostree fsck` does not complain about them. */
  isPartial(commit: string): boolean {
    return existsSync(this.#partialPath(commit));
  }

  /**
   * Marks a commit as incomplete, or as complete again. Idempotent. Of one that is marked as `damaged`, `ostree fsck`
   * goes on to complain.
   */
  setPartial(commit: string, partial: boolean | 'damaged'): void {
    const path = this.#partialPath(commit);
    try {
      if (partial === 'damaged') writeFileSync(path, 'f');
      else if (partial) writeFileSync(path, '');
      else rmSync(path, { force: true });
    } catch (error) {
      throw ioError(`mark the commit ${commit}`, error);
    }
  }

  /** Locks the repository: shared to write, exclusive to delete objects. */
  lock(kind: LockKind, options?: LockOptions): Promise<HeldLock> {
    return lockRepository(this.path, this.config, kind, options);
  }

  /** Begins a transaction. Commit or abort it, or use `await using`. Throws UnsupportedConfig where files must be sealed. */
  async beginTransaction(options?: TransactionOptions): Promise<Transaction> {
    requireWritable(this.config, this.path);
    return await Transaction.begin(this.path, this.config, options);
  }

  /** Deletes what writers that were killed have staged. Every transaction does so when it begins. */
  async deleteAbandoned(): Promise<void> {
    await deleteAbandonedStaging(this.path);
  }

  #decode<Value>(type: MetadataType, checksum: string, decode: (bytes: Buffer) => Value): Value {
    const bytes = this.readMetadata(type, checksum);
    try {
      return decode(bytes);
    } catch (error) {
      throw this.#corrupt(type, checksum, error);
    }
  }

  #corrupt(type: MetadataType, checksum: string, cause?: unknown): OstreeError {
    const message = `The object ${checksum}.${type} in ${this.path} is corrupt; run \`ostree fsck\`, then pull it again`;
    return new OstreeError('CorruptObject', message, { cause });
  }

  #detachedMetadataPath(commit: string): string {
    return join(this.path, 'objects', looseObjectPath(commit, 'commitmeta'));
  }

  #partialPath(commit: string): string {
    looseObjectPath(commit, 'commit');
    return join(this.path, 'state', `${commit}.commitpartial`);
  }
}

function readOptional(path: string): Buffer | undefined {
  try {
    return readFileSync(path);
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return undefined;
    throw ioError(`read ${path}`, error);
  }
}

function replaceFile(temporaryDirectory: string, path: string, bytes: Buffer): void {
  const temporary = join(temporaryDirectory, `new-${randomBytes(8).toString('hex')}`);
  try {
    writeFileSync(temporary, bytes, { flag: 'wx', mode: 0o644, flush: true });
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
}
