/**
 * Has the kernel write out what an import has written while the import goes on. Left alone it would begin half a minute
 * later or when memory runs short, and the disk would be idle until the commit, which then waits for all of it.
 */
import { DurableFileSystem } from '../posix/sync.ts';

/** Bytes of layers between two beginnings: enough that files lie on the disk in one piece. */
const EVERY_BYTES = 96 * 1024 * 1024;

export class Writeback implements AsyncDisposable {
  readonly #fileSystem: DurableFileSystem;
  readonly #beginSync: () => () => void;
  #since = 0;
  #running: Promise<void> | undefined;

  /**
   * @param repository path of the repository
   * @param beginSync called before everything is written out; what it returns, when that has succeeded
   */
  constructor(repository: string, beginSync: () => () => void) {
    this.#beginSync = beginSync;
    this.#fileSystem = new DurableFileSystem(repository);
  }

  /** That so many bytes more have been handed to the import threads. */
  add(bytes: number): void {
    this.#since += bytes;
    if (this.#since < EVERY_BYTES || this.#running !== undefined) return;
    this.#since = 0;
    this.#running = this.#write();
  }

  async #write(): Promise<void> {
    const succeed = this.#beginSync();
    try {
      await this.#fileSystem.sync();
      succeed();
    } catch {
      // This is only an early start: what the disk did not take, the transactions' own syncs are told of, too.
    } finally {
      this.#running = undefined;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#running;
    this.#fileSystem[Symbol.dispose]();
  }
}
