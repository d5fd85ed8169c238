/** Writes images into an OCI image layout directory, every file atomically, the index last. */
import { mkdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { canonicalJson } from './canonical-json.ts';
import { CONFIG_MAX_BYTES } from './content.ts';
import { parseConfig, parseIndex, parseJsonObject } from './document.ts';
import { writeDurably, writeError } from './durable-file.ts';
import type { ImageDestination } from './image-source.ts';
import { blobPath, type LayoutName } from './layout-content.ts';
import { DirectoryFiles } from './layout-files.ts';
import { LAYOUT_FILE, manifestBlob, withImage } from './layout-index.ts';
import { Mutex } from './mutex.ts';
import type { Descriptor, ImageIndex, ImageManifest } from './oci.ts';
import { once } from './once.ts';
import { BlobVerifier } from './verification.ts';

export class LayoutDestination implements ImageDestination {
  readonly #root: string;
  readonly #ref: string | undefined;
  readonly #indexLock = new Mutex();
  #prepared: Promise<void> | undefined;

  constructor(name: LayoutName) {
    this.#root = name.path;
    this.#ref = name.ref;
  }

  async hasBlob(descriptor: Descriptor): Promise<boolean> {
    // Blobs appear by rename only, so one of the right size is whole.
    const found = await stat(join(this.#root, blobPath(descriptor.digest))).catch(() => undefined);
    return found?.isFile() === true && found.size === descriptor.size;
  }

  async putBlob(descriptor: Descriptor, content: () => AsyncIterable<Buffer>, signal?: AbortSignal): Promise<void> {
    await this.#prepare();
    if (await this.hasBlob(descriptor)) return;
    const path = join(this.#root, blobPath(descriptor.digest));
    await writeDurably(
      path,
      async (handle) => {
        const verifier = new BlobVerifier(descriptor, this.#root);
        for await (const chunk of content()) {
          signal?.throwIfAborted();
          verifier.update(chunk);
          await handle.writeFile(chunk);
        }
        verifier.finish();
      },
      this.#root,
    );
  }

  async putManifest(manifest: ImageManifest, signal?: AbortSignal): Promise<string> {
    await this.#prepare();
    const { bytes, descriptor } = manifestBlob(manifest);
    await this.putBlob(descriptor, () => once(bytes), signal);
    const configBytes = await new DirectoryFiles(this.#root).read(blobPath(manifest.config.digest), CONFIG_MAX_BYTES);
    const config = parseConfig(configBytes, this.#root);
    await this.#indexLock.run(async () => {
      const index = withImage(await this.#readIndex(), descriptor, config, this.#ref);
      await writeDurably(join(this.#root, 'index.json'), (handle) => handle.writeFile(canonicalJson(index)));
    });
    return descriptor.digest;
  }

  #prepare(): Promise<void> {
    this.#prepared ??= this.#createLayout();
    return this.#prepared;
  }

  async #createLayout(): Promise<void> {
    // One folder at a time: Node's recursive mkdir never ends where the kernel refuses a folder with ENOENT, as /proc does.
    for (const folder of ['', 'blobs', 'blobs/sha256']) {
      await mkdir(join(this.#root, folder)).catch((error: NodeJS.ErrnoException) => {
        if (error.code !== 'EEXIST') throw writeError(this.#root, error);
      });
    }
    await writeDurably(join(this.#root, 'oci-layout'), (handle) => handle.writeFile(LAYOUT_FILE));
  }

  async #readIndex(): Promise<ImageIndex | undefined> {
    const bytes = await readFile(join(this.#root, 'index.json')).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return undefined;
      throw error;
    });
    if (bytes === undefined) return undefined;
    return parseIndex(parseJsonObject(bytes, 'InvalidManifest', `The index.json of ${this.#root}`), this.#root);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve();
  }
}
