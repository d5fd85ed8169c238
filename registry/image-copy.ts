/** A copy of an image that a tool makes as a `dir:` in a scratch directory: once, when it is first needed. */
import { DirectoryContent } from './directory-content.ts';
import { ScratchDirectory } from './scratch-directory.ts';

export class ImageCopy implements AsyncDisposable {
  readonly #make: (directory: string, signal?: AbortSignal) => Promise<void>;
  readonly #scratchParent: string;
  readonly #label: string;
  #made: Promise<{ readonly scratch: ScratchDirectory; readonly content: DirectoryContent }> | undefined;

  /** @param scratchParent where the copy goes: as much room as the image has uncompressed. */
  constructor(make: (directory: string, signal?: AbortSignal) => Promise<void>, scratchParent: string, label: string) {
    this.#make = make;
    this.#scratchParent = scratchParent;
    this.#label = label;
  }

  /** The same copy for everybody who asks. A failure is not kept. */
  async content(signal?: AbortSignal): Promise<DirectoryContent> {
    this.#made ??= this.#copy(signal).catch((error: unknown) => {
      this.#made = undefined;
      throw error;
    });
    return (await this.#made).content;
  }

  async #copy(signal: AbortSignal | undefined) {
    const scratch = await ScratchDirectory.create(this.#scratchParent);
    try {
      const path = `${scratch.path}/image`;
      await this.#make(path, signal);
      return { scratch, content: new DirectoryContent(path, this.#label) };
    } catch (error) {
      await scratch[Symbol.asyncDispose]();
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#made === undefined) return;
    const [made] = await Promise.allSettled([this.#made]);
    if (made.status === 'fulfilled') await made.value.scratch[Symbol.asyncDispose]();
  }
}
