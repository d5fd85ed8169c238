/**
 * Keeps what has arrived of a large blob that arrives slowly, so that a pull which was killed in the middle of it goes on
 * there. A network that gives the blob faster than a disk takes it twice is not worth that: then nothing is kept.
 *
 * What is kept is not trusted: it is read through the same digest as the rest, and deleted when that is wrong.
 */
import { closeSync, fstatSync, rmSync } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import type { Descriptor, ImageSource } from '../../registry/index.ts';
import { ioError, OstreeError, systemErrorCode } from '../errors.ts';
import { SpaceBudget } from '../repository/free-space.ts';
import type { Repository } from '../repository/repository.ts';
import { createKeptBlob, keptBlobPath, lockKeptBlob } from './kept-blob-folder.ts';

/** Blobs that are no larger are quicker fetched again than kept, on any network. */
const LEAST_BYTES = 4 * 1024 * 1024;
/** A blob that comes faster than this is not kept. Only what was waited for it counts, not what an import takes to use it. */
const FAST_BYTES_PER_SECOND = 32 * 1024 * 1024;
const READ_BYTES = 256 * 1024;

type ReadOptions = NonNullable<Parameters<ImageSource['openBlob']>[1]>;

/** Of one pull. */
export class KeptBlobs implements AsyncDisposable {
  readonly #repository: Repository;
  readonly #onKnown: (bytes: number) => void;
  readonly #now: () => number;
  #room: number;
  readonly #open = new Map<string, KeptBlob>();
  /** Digests of which nothing is kept any more, for one reason or another. */
  readonly #dropped = new Set<string>();

  /**
   * @param onKnown called with the bytes of a blob that need not be fetched
   * @param room bytes that may be kept beside what is kept already: where space is short, the layers come first
   * @param now milliseconds, of any origin
   */
  constructor(
    repository: Repository,
    onKnown: (bytes: number) => void,
    room = Number.POSITIVE_INFINITY,
    now: () => number = () => performance.now(),
  ) {
    this.#repository = repository;
    this.#onKnown = onKnown;
    this.#room = room;
    this.#now = now;
  }

  /**
   * Reads a blob as `source.openBlob` does, its first bytes from what an earlier pull has kept. When those turn out to be
   * wrong, they are deleted, and it throws {@link KeptBlobWrong}: then read again.
   */
  async *read(
    source: Pick<ImageSource, 'openBlob'>,
    descriptor: Descriptor,
    options: ReadOptions,
  ): AsyncGenerator<Buffer> {
    const { digest, size } = descriptor;
    if (size <= LEAST_BYTES || this.#dropped.has(digest)) {
      yield* source.openBlob(descriptor, options);
      return;
    }
    let kept = this.#open.get(digest) ?? (await KeptBlob.find(this.#repository, digest));
    if (kept !== undefined) this.#open.set(digest, kept);
    const known = kept === undefined || kept.length > size ? 0 : kept.length;
    if (known > 0) this.#onKnown(known);
    const head: Buffer[] = [];
    let received = 0;
    let waitedMs = 0;
    const isSlow = (): boolean => received < (waitedMs / 1000) * FAST_BYTES_PER_SECOND;
    const reading = kept === undefined || known === 0 ? options : { ...options, known: kept };
    const chunks = timed(source.openBlob(descriptor, reading), this.#now, (ms) => (waitedMs += ms));
    try {
      for await (const chunk of chunks) {
        received += chunk.length;
        if (kept !== undefined) {
          // The beginning of a transfer may have been its only slow part.
          const isWorthIt = known > 0 || isSlow();
          if (!isWorthIt || (received > known && !(await this.#append(kept, chunk)))) kept = await this.#drop(digest);
        } else if (received - chunk.length < LEAST_BYTES) {
          head.push(Buffer.from(chunk));
          if (received >= LEAST_BYTES && received < size && isSlow()) kept = await this.#keep(digest, head);
          if (received >= LEAST_BYTES) head.length = 0;
        }
        yield chunk;
      }
    } catch (error) {
      if (known === 0 || !(error instanceof KeptBlobWrong || isWrongContent(error))) throw error;
      await this.#drop(digest);
      throw new KeptBlobWrong(`what was kept of blob ${digest} is damaged; it is fetched again`, { cause: error });
    }
  }

  /** The layer is in the repository: nothing has to be kept of its blob. */
  async committed(digest: string): Promise<void> {
    await this.#drop(digest);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const kept of this.#open.values()) await kept.close();
    this.#open.clear();
  }

  async #keep(digest: string, head: readonly Buffer[]): Promise<KeptBlob | undefined> {
    const kept = await KeptBlob.create(this.#repository, digest);
    if (kept === undefined) return undefined;
    this.#open.set(digest, kept);
    for (const chunk of head) if (!(await this.#append(kept, chunk))) return await this.#drop(digest);
    return kept;
  }

  /** Returns false when there is no room; then it is time to delete what is there: the layer itself needs the space. */
  async #append(kept: KeptBlob, chunk: Buffer): Promise<boolean> {
    if (chunk.length > this.#room || !(await kept.append(chunk))) return false;
    this.#room -= chunk.length;
    return true;
  }

  async #drop(digest: string): Promise<undefined> {
    const kept = this.#open.get(digest);
    this.#room += kept?.length ?? 0;
    this.#open.delete(digest);
    this.#dropped.add(digest);
    await kept?.delete();
  }
}

/** The bytes that an earlier pull had kept were not those of the blob. They are deleted. */
export class KeptBlobWrong extends Error {
  override readonly name = 'KeptBlobWrong';
}

/** The first part of one blob, in a file that is locked while it is open. */
class KeptBlob {
  readonly #path: string;
  readonly #handle: FileHandle;
  readonly #lock: number;
  readonly #budget: SpaceBudget;
  #length: number;

  private constructor(path: string, handle: FileHandle, lock: number, length: number, budget: SpaceBudget) {
    this.#path = path;
    this.#handle = handle;
    this.#lock = lock;
    this.#length = length;
    this.#budget = budget;
  }

  /** What was kept of a blob, or undefined if nothing was, or another pull uses it. */
  static async find(repository: Repository, digest: string): Promise<KeptBlob | undefined> {
    return await KeptBlob.#ofFile(repository, digest, lockKeptBlob(repository, digest));
  }

  /** A new one, or undefined if another pull is keeping the same blob, or the disk will not have it. */
  static async create(repository: Repository, digest: string): Promise<KeptBlob | undefined> {
    try {
      return await KeptBlob.#ofFile(repository, digest, createKeptBlob(repository, digest));
    } catch (error) {
      if (isOfDisk(error)) return undefined;
      throw error;
    }
  }

  static async #ofFile(
    repository: Repository,
    digest: string,
    lock: number | undefined,
  ): Promise<KeptBlob | undefined> {
    if (lock === undefined) return undefined;
    const path = keptBlobPath(repository, digest);
    try {
      const budget = new SpaceBudget(repository.path, repository.config.reserve);
      return new KeptBlob(path, await open(path, 'r+'), lock, fstatSync(lock).size, budget);
    } catch (error) {
      closeSync(lock);
      throw ioError(`open ${path}`, error);
    }
  }

  /** Bytes. */
  get length(): number {
    return this.#length;
  }

  /** Reads them, in chunks that are valid until the next is asked for. */
  async *read(): AsyncGenerator<Buffer> {
    const buffer = Buffer.allocUnsafeSlow(READ_BYTES);
    const end = this.#length;
    for (let at = 0; at < end;) {
      const { bytesRead } = await this.#handle
        .read(buffer, 0, Math.min(READ_BYTES, end - at), at)
        .catch((cause: unknown) => {
          throw new KeptBlobWrong(`${this.#path} cannot be read`, { cause });
        });
      if (bytesRead === 0) return;
      at += bytesRead;
      yield buffer.subarray(0, bytesRead);
    }
  }

  /** Returns false when the disk will not have it. */
  async append(chunk: Buffer): Promise<boolean> {
    try {
      this.#budget.spend(chunk.length);
      await this.#handle.write(chunk, 0, chunk.length, this.#length);
      this.#length += chunk.length;
      return true;
    } catch (error) {
      if (isOfDisk(error)) return false;
      throw error;
    }
  }

  async close(): Promise<void> {
    await this.#handle.close();
    closeSync(this.#lock);
  }

  /** One that cannot be deleted is left to a later pull: it must not be why this one fails. */
  async delete(): Promise<void> {
    try {
      rmSync(this.#path, { force: true });
    } catch (error) {
      if (!isOfDisk(error)) throw error;
    } finally {
      await this.close();
    }
  }
}

/** The same chunks; says of each how long it was waited for. */
async function* timed(
  chunks: AsyncIterable<Buffer>,
  now: () => number,
  onWaited: (milliseconds: number) => void,
): AsyncGenerator<Buffer> {
  let asked = now();
  for await (const chunk of chunks) {
    onWaited(now() - asked);
    yield chunk;
    asked = now();
  }
}

/** Keeping is worth an attempt and no more: a disk that is in trouble says so where it matters. */
function isOfDisk(error: unknown): boolean {
  return error instanceof OstreeError || systemErrorCode(error) !== undefined;
}

function isWrongContent(error: unknown): boolean {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  return code === 'DigestMismatch' || code === 'SizeMismatch' || code === 'WrongMirror';
}
