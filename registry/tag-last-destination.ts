/**
 * An image on a registry that gets its tag last: first it lies there by its digest, then what belongs to it (signatures, for
 * example) is put beside it, and only then does the tag move. Whoever follows the tag never finds it without.
 */
import { openRegistryDestination } from './destination.ts';
import type { ImageDestination } from './image-source.ts';
import type { Descriptor, ImageManifest } from './oci.ts';
import type { RegistryOptions } from './options.ts';
import type { RegistryDestination } from './registry-destination.ts';

export class TagLastDestination implements ImageDestination {
  readonly #registry: RegistryDestination;
  readonly #beforeTag: (manifest: Descriptor) => Promise<void>;

  /** @param beforeTag what it throws keeps the tag from moving */
  constructor(name: string, options: RegistryOptions, beforeTag: (manifest: Descriptor) => Promise<void>) {
    this.#registry = openRegistryDestination(name, options);
    this.#beforeTag = beforeTag;
  }

  hasBlob(descriptor: Descriptor, signal?: AbortSignal): Promise<boolean> {
    return this.#registry.hasBlob(descriptor, signal);
  }

  putBlob(descriptor: Descriptor, content: () => AsyncIterable<Buffer>, signal?: AbortSignal): Promise<void> {
    return this.#registry.putBlob(descriptor, content, signal);
  }

  async putManifest(manifest: ImageManifest, signal?: AbortSignal): Promise<string> {
    const { descriptor } = await this.#registry.putUntagged(manifest, signal);
    await this.#beforeTag(descriptor);
    return await this.#registry.putManifest(manifest, signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#registry[Symbol.asyncDispose]();
  }
}
