/** The network of one order, in a process without privilege that is started when something is asked of it. */
import { startConfined } from '../confinement/confined-process.ts';
import { FETCH_WORKER, Fetcher, type RegistryOptions } from '../registry/index.ts';

/** Dispose of it to end the process. */
export class ConfinedNetwork implements AsyncDisposable {
  #fetcher: Fetcher | undefined;

  readonly connect: NonNullable<RegistryOptions['connect']> = (settings) => {
    this.#fetcher ??= new Fetcher(startConfined(FETCH_WORKER, { network: true }));
    return this.#fetcher.connect(settings);
  };

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#fetcher?.[Symbol.asyncDispose]();
  }
}
