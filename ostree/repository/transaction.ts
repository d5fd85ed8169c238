/**
 * A transaction: objects collect in a staging directory and become part of the repository together, then the refs
 * follow. Killed at any point it leaves either a staging directory that the next transaction takes over, or complete
 * objects that no ref names yet.
 */
import { mkdirSync, readdirSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { ioError, OstreeError, systemErrorCode } from '../errors.ts';
import { assertChecksum } from '../objects/object-name.ts';
import { DurableFileSystem, syncDirectory } from '../posix/sync.ts';
import type { RepositoryConfig } from './config.ts';
import { lockRepository, type HeldLock, type LockOptions } from './lock.ts';
import { ObjectWriter, STAGED_COMMIT_PREFIX } from './object-writer.ts';
import { assertRefName } from './ref-name.ts';
import { announceChange, removeRef, writeRef } from './refs.ts';
import { acquireStagingDirectory, readBootId, type StagingDirectory } from './staging-directory.ts';

/** From so many directories on, one sync of the file system is quicker than one of each of them. */
const MANY_DIRECTORIES = 8;

export class Transaction extends ObjectWriter implements AsyncDisposable {
  readonly #config: RepositoryConfig;
  readonly #lock: HeldLock;
  readonly #staging: StagingDirectory;
  readonly #fileSystem: DurableFileSystem;
  readonly #refs = new Map<string, string | undefined>();
  #done = false;

  private constructor(
    path: string,
    mode: 'bare' | 'bare-user',
    config: RepositoryConfig,
    lock: HeldLock,
    staging: StagingDirectory,
    fileSystem: DurableFileSystem,
  ) {
    super({ repositoryPath: path, mode, stagingPath: staging.path, reserve: config.reserve });
    this.#config = config;
    this.#lock = lock;
    this.#staging = staging;
    this.#fileSystem = fileSystem;
  }

  /** Takes the repository's lock, shared, and a staging directory. Throws UnsupportedMode for an archive repository. */
  static async begin(path: string, config: RepositoryConfig, options: LockOptions = {}): Promise<Transaction> {
    const { mode } = config;
    if (mode === 'archive') {
      throw new OstreeError('UnsupportedMode', `The repository ${path} is an archive; write to one of mode bare`);
    }
    const lock = await lockRepository(path, config, 'shared', options);
    let fileSystem: DurableFileSystem | undefined;
    try {
      fileSystem = new DurableFileSystem(path);
      const staging = await acquireStagingDirectory(path, mode, readBootId());
      return new Transaction(path, mode, config, lock, staging, fileSystem);
    } catch (error) {
      fileSystem?.[Symbol.dispose]();
      lock.release();
      throw error;
    }
  }

  /** Has the ref written, or with undefined deleted, when the transaction is committed. */
  setRef(name: string, checksum: string | undefined): void {
    assertRefName(name);
    if (checksum !== undefined) assertChecksum(checksum);
    this.#refs.set(name, checksum);
  }

  /** Makes the objects durable and part of the repository, then sets the refs. All writers must have finished. */
  async commit(): Promise<void> {
    this.#assertOpen();
    const path = this.handle.repositoryPath;
    try {
      if (this.#config.fsync) await this.#fileSystem.sync();
      // Commits last: one must never be seen without what it refers to, not even after a power cut.
      const directories = readdirSync(this.handle.stagingPath);
      await this.#publish(directories.filter((name) => name.length === 2));
      await this.#publish(directories.filter((name) => name.startsWith(STAGED_COMMIT_PREFIX)));
      for (const [name, checksum] of this.#refs) {
        if (checksum === undefined) await removeRef(path, name, this.#config.fsync);
        else await writeRef(path, this.handle.stagingPath, name, checksum, this.#config.fsync);
      }
      if (this.#refs.size > 0) announceChange(path, new Date());
    } catch (error) {
      throw ioError(`commit to the repository ${path}`, error);
    }
    await this.#end();
  }

  /** Discards everything that has been staged. Does nothing after a commit. */
  async abort(): Promise<void> {
    if (!this.#done) await this.#end();
  }

  /** As `abort`, but for what cannot be deleted: the next transaction does that, and why we stop matters more. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.abort().catch((error: unknown) => {
      if (!(error instanceof OstreeError)) throw error;
    });
  }

  async #publish(stagedDirectories: readonly string[]): Promise<void> {
    const objects = join(this.handle.repositoryPath, 'objects');
    const touched: string[] = [];
    for (const name of stagedDirectories) {
      const source = join(this.handle.stagingPath, name);
      const target = join(objects, name.slice(-2));
      makeDirectory(target);
      touched.push(target);
      for (const object of readdirSync(source)) renameSync(join(source, object), join(target, object));
    }
    if (!this.#config.fsync || touched.length === 0) return;
    if (touched.length >= MANY_DIRECTORIES) {
      await this.#fileSystem.sync();
    } else {
      for (const directory of [...touched, objects]) await syncDirectory(directory);
    }
  }

  async #end(): Promise<void> {
    this.#assertOpen();
    this.#done = true;
    try {
      await this.#staging.remove();
    } finally {
      this.#fileSystem[Symbol.dispose]();
      this.#lock.release();
    }
  }

  #assertOpen(): void {
    if (this.#done) throw new OstreeError('Io', 'The transaction has already been committed or aborted');
  }
}

function makeDirectory(path: string): void {
  try {
    mkdirSync(path, 0o777);
  } catch (error) {
    if (systemErrorCode(error) !== 'EEXIST') throw error;
  }
}
