/** The threads and processes of one pull: they take a tenth of a second to start, so they do while something else is waited for. */
import { ImportPool } from './import-pool.ts';
import { Unpackers } from './unpacker/unpackers.ts';

export type Unpacking = 'in-process' | 'confined';

export interface ImportMeansOptions {
  /** How many threads import; one for every two CPUs, and at most four, unless given. */
  readonly threads?: number;
  /**
   * Where layers are decompressed and their tar streams read: `in-process`, by the process that writes the repository (the
   * default), or `confined`, in processes without privilege, which only root can start.
   */
  readonly unpack?: Unpacking;
}

/** Dispose of it to end what has been started. */
export class ImportMeans implements AsyncDisposable {
  readonly #repositoryPath: string;
  readonly #options: ImportMeansOptions;
  readonly #started = new AsyncDisposableStack();
  #pool: ImportPool | undefined;

  constructor(repositoryPath: string, options: ImportMeansOptions) {
    this.#repositoryPath = repositoryPath;
    this.#options = options;
  }

  /** The threads, started at the first call. */
  start(): ImportPool {
    return (this.#pool ??= this.#start());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#started.disposeAsync();
  }

  #start(): ImportPool {
    const { threads, unpack } = this.#options;
    const unpackers = unpack === 'confined' ? this.#started.use(new Unpackers()) : undefined;
    return this.#started.use(new ImportPool(this.#repositoryPath, threads, unpackers));
  }
}
