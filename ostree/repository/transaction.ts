/**
 * A transaction: objects collect in a staging directory and become part of the repository together, then the refs
 * follow. Killed at any point it leaves a staging directory that the next transaction deletes, or complete objects that
 * no ref names yet.
 */
import { ioError, OstreeError } from '../errors.ts';
import { assertChecksum } from '../objects/object-name.ts';
import { DurableFileSystem } from '../posix/sync.ts';
import type { RepositoryConfig } from './config.ts';
import { lockRepository, type HeldLock, type LockOptions } from './lock.ts';
import { extensionOf } from './loose-objects.ts';
import { ObjectWriter, type WriterHandle } from './object-writer.ts';
import { publishNamed, publishStaged, type Published } from './publication.ts';
import { assertRefName } from './ref-name.ts';
import { announceChange, removeRef, stageRef, type StagedRef } from './refs.ts';
import { stagedLayoutFor } from './staged-place.ts';
import { acquireStagingDirectory, type StagingDirectory } from './staging-directory.ts';

const CHECKSUM_BYTES = 32;

export interface TransactionOptions extends LockOptions {
  /** Whether thousands of objects are to be expected. */
  readonly isLarge?: boolean;
  /** Whether the repository held no files before: then none is looked for. */
  readonly isFirst?: boolean;
}

export class Transaction extends ObjectWriter implements AsyncDisposable {
  readonly config: RepositoryConfig;
  readonly #lock: HeldLock;
  readonly #staging: StagingDirectory;
  readonly fileSystem: DurableFileSystem;
  readonly #refs = new Map<string, string | undefined>();
  #durable: readonly Uint8Array[] = [];
  #done = false;

  private constructor(
    handle: WriterHandle,
    config: RepositoryConfig,
    lock: HeldLock,
    staging: StagingDirectory,
    fileSystem: DurableFileSystem,
  ) {
    super(handle);
    this.config = config;
    this.#lock = lock;
    this.#staging = staging;
    this.fileSystem = fileSystem;
  }

  /** Takes the repository's lock, shared, and a staging directory. */
  static async begin(path: string, config: RepositoryConfig, options: TransactionOptions = {}): Promise<Transaction> {
    const lock = await lockRepository(path, config, 'shared', options);
    let fileSystem: DurableFileSystem | undefined;
    try {
      fileSystem = new DurableFileSystem(path);
      const layout = options.isLarge === true ? stagedLayoutFor(path) : 'together';
      const staging = await acquireStagingDirectory(path);
      const handle = {
        repositoryPath: path,
        mode: config.mode,
        stagingPath: staging.path,
        layout,
        looksFirst: options.isFirst !== true,
        reserve: config.reserve,
      };
      return new Transaction(handle, config, lock, staging, fileSystem);
    } catch (error) {
      fileSystem?.[Symbol.dispose]();
      lock.release();
      throw error;
    }
  }

  /** What the commit will do to refs: set, or with undefined delete. */
  get refs(): ReadonlyMap<string, string | undefined> {
    return this.#refs;
  }

  /** Has the ref written, or with undefined deleted, when the transaction is committed. */
  setRef(name: string, checksum: string | undefined): void {
    assertRefName(name);
    if (checksum !== undefined) assertChecksum(checksum);
    this.#refs.set(name, checksum);
  }

  /** Says of which staged files the disk has the content already, 32 bytes of checksum each: they need not wait for the sync of the others. */
  noteDurable(files: readonly Uint8Array[]): void {
    this.#durable = [...this.#durable, ...files];
  }

  /**
   * Makes what has been staged so far durable and then part of the repository, but for commits: harmless without them, and
   * so much less is left to be done by `commit`, which also makes the names durable.
   */
  async publishObjects(): Promise<void> {
    this.assertOpen();
    try {
      await together([this.config.fsync ? this.fileSystem.sync() : Promise.resolve(), this.publishDurable()]);
      await publishStaged(this.handle, 'objects');
    } catch (error) {
      throw ioError(`write to the repository ${this.handle.repositoryPath}`, error);
    }
  }

  /** Moves the files that the disk has to their places. Returns whether there were any. */
  async publishDurable(): Promise<boolean> {
    const durable = this.#durable;
    this.#durable = [];
    // A prefix that becomes part of the repository as a whole costs no more at the end.
    if (this.handle.layout === 'by-prefix') return false;
    return await publishNamed(this.handle, fileNames(durable, extensionOf('file', this.handle.mode)));
  }

  /** Makes the objects durable and part of the repository, then sets the refs. All writers must have finished. */
  async commit(): Promise<void> {
    await commitTogether([this]);
  }

  /** Discards everything that has been staged. Does nothing after a commit. */
  async abort(): Promise<void> {
    if (!this.#done) await this.end();
  }

  /** As `abort`, but for what cannot be deleted: the next transaction does that, and why we stop matters more. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.abort().catch((error: unknown) => {
      if (!(error instanceof OstreeError)) throw error;
    });
  }

  /** Gives up the staging directory, with what is left in it, and the lock. */
  async end(): Promise<void> {
    this.assertOpen();
    this.#done = true;
    try {
      await this.#staging.remove();
    } finally {
      this.fileSystem[Symbol.dispose]();
      this.#lock.release();
    }
  }

  assertOpen(): void {
    if (this.#done) throw new OstreeError('Io', 'The transaction has already been committed or aborted');
  }
}

/**
 * Commits transactions of one repository with the syncs of one. Either all are committed, or it throws; then objects of
 * each may be in the repository, but no ref that was to be set later than the one that failed. All writers must have finished.
 *
 * Durable is, in this order: every object's content; the objects' names; the commits' names; the refs. So after a power cut
 * nothing is seen without what it refers to.
 */
export async function commitTogether(transactions: readonly Transaction[]): Promise<void> {
  const [first] = transactions;
  if (first === undefined) return;
  const { repositoryPath } = first.handle;
  const sync = async (whose: readonly Transaction[]): Promise<void> => {
    for (const { config, fileSystem } of whose) if (config.fsync) await fileSystem.sync();
  };
  try {
    for (const transaction of transactions) transaction.assertOpen();
    // The first of these writes everything out, names from `publishObjects` with it; but each alone tells what went wrong
    // since its transaction began.
    const syncing = sync(transactions);
    const early = transactions.map((transaction) => transaction.publishDurable());
    await together([syncing, ...early]);
    const late = await publishAll(transactions, 'objects');
    // Names that went to their places during the sync may have come too late for it.
    if (late || (await Promise.all(early)).includes(true)) await sync([first]);
    const refs: StagedRef[] = [];
    for (const transaction of transactions) {
      for (const [name, checksum] of transaction.refs) {
        if (checksum === undefined) continue;
        refs.push(stageRef(repositoryPath, transaction.handle.stagingPath, name, checksum, false));
      }
    }
    const published = await publishAll(transactions, 'commits');
    if (published || refs.length > 0) await sync([first]);
    for (const ref of refs) ref.publish();
    const changes = transactions.flatMap((transaction) => [...transaction.refs]);
    for (const [name, checksum] of changes) {
      if (checksum === undefined) await removeRef(repositoryPath, name, first.config.fsync);
    }
    if (refs.length > 0) await sync([first]);
    if (changes.length > 0) announceChange(repositoryPath, new Date());
  } catch (error) {
    throw ioError(`commit to the repository ${repositoryPath}`, error);
  }
  for (const transaction of transactions) await transaction.end();
}

/** Waits for all of them, also when one fails: what goes on then may not meet what comes next. Throws the first reason. */
async function together(steps: readonly Promise<unknown>[]): Promise<void> {
  for (const outcome of await Promise.allSettled(steps)) if (outcome.status === 'rejected') throw outcome.reason;
}

/** Returns whether there were any. */
async function publishAll(transactions: readonly Transaction[], which: Published): Promise<boolean> {
  let found = false;
  for (const { handle } of transactions) found = (await publishStaged(handle, which)) || found;
  return found;
}

function* fileNames(checksums: readonly Uint8Array[], extension: string): Generator<string> {
  for (const packed of checksums) {
    const bytes = Buffer.from(packed.buffer, packed.byteOffset, packed.length);
    for (let at = 0; at < bytes.length; at += CHECKSUM_BYTES)
      yield `${bytes.toString('hex', at, at + CHECKSUM_BYTES)}.${extension}`;
  }
}
