/**
 * Writes one image as a `dir:` of containers-transports(5): blobs named by their hex digits, the manifest last. An image
 * that was there is replaced.
 */
import { mkdir, readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { digestOf, hexOf } from './digest.ts';
import { writeDurably, writeError } from './durable-file.ts';
import { RegistryError } from './errors.ts';
import type { ImageDestination } from './image-source.ts';
import { manifestBlob } from './layout-index.ts';
import type { Descriptor, ImageManifest } from './oci.ts';
import { BlobVerifier } from './verification.ts';

/** By it other tools know that they may write here. Source: containers/image, directory transport. */
const VERSION_FILE = 'version';
const VERSION = 'Directory Transport Version: 1.1\n';
const BLOB = /^[0-9a-f]{64}$/;

export class DirectoryDestination implements ImageDestination {
  readonly #path: string;
  #prepared: Promise<void> | undefined;

  constructor(path: string) {
    this.#path = path;
  }

  async hasBlob({ digest, size }: Descriptor): Promise<boolean> {
    // Blobs appear by rename only, so one of the right size is whole.
    const found = await stat(join(this.#path, hexOf(digest))).catch(() => undefined);
    return found?.isFile() === true && found.size === size;
  }

  async putBlob(descriptor: Descriptor, content: () => AsyncIterable<Buffer>, signal?: AbortSignal): Promise<void> {
    await this.#prepare();
    if (await this.hasBlob(descriptor)) return;
    await writeDurably(join(this.#path, hexOf(descriptor.digest)), async (handle) => {
      const verifier = new BlobVerifier(descriptor, this.#path);
      for await (const chunk of content()) {
        signal?.throwIfAborted();
        verifier.update(chunk);
        await handle.writeFile(chunk);
      }
      verifier.finish();
    });
  }

  async putManifest(manifest: ImageManifest): Promise<string> {
    await this.#prepare();
    const { bytes } = manifestBlob(manifest);
    await writeDurably(join(this.#path, 'manifest.json'), (handle) => handle.writeFile(bytes));
    const needed = new Set([manifest.config, ...manifest.layers].map(({ digest }) => hexOf(digest)));
    for (const name of await readdir(this.#path)) {
      if (BLOB.test(name) && !needed.has(name)) await rm(join(this.#path, name));
    }
    return digestOf(bytes);
  }

  #prepare(): Promise<void> {
    this.#prepared ??= this.#create();
    return this.#prepared;
  }

  async #create(): Promise<void> {
    try {
      await mkdir(this.#path).catch((error: NodeJS.ErrnoException) => {
        if (error.code !== 'EEXIST') throw error;
      });
      const names = await readdir(this.#path);
      if (names.length > 0 && !names.includes(VERSION_FILE)) {
        throw new RegistryError(
          'WriteFailed',
          `${this.#path} is a directory with something other than an image in it: choose an empty one.`,
        );
      }
      await writeDurably(join(this.#path, VERSION_FILE), (handle) => handle.writeFile(VERSION));
    } catch (error) {
      throw writeError(this.#path, error);
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve();
  }
}
