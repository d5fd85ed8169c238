/**
 * An image in a local store that only its own tools can read: `containers-storage:` and `docker-daemon:`. Manifest and
 * config are asked for, which is cheap; only when a layer is wanted is the image copied, once, into a scratch directory.
 * Stores keep layers uncompressed: a layer comes out under its diff-id, whatever the manifest, which is the one that the
 * image was pulled with, calls it.
 */
import type { ContentStore, Document } from './content.ts';
import { digestOf } from './digest.ts';
import type { DirectoryContent } from './directory-content.ts';
import { parseJsonObject, parseManifest } from './document.ts';
import { RegistryError } from './errors.ts';
import { ImageCopy } from './image-copy.ts';
import { formatImageReference, type ImageReference } from './image-reference.ts';
import type { BlobReadOptions } from './image-source.ts';
import { type Descriptor, MEDIA_TYPE } from './oci.ts';
import { BlobVerifier } from './verification.ts';

/** How a store is asked, see `skopeo.ts`. */
export interface StoreTool {
  /** The manifest as the store keeps it. */
  manifest(signal?: AbortSignal): Promise<Buffer>;
  config(signal?: AbortSignal): Promise<Buffer>;
  /** Writes the image as a `dir:`. */
  copy(directory: string, signal?: AbortSignal): Promise<void>;
}

export class LocalStoreContent implements ContentStore {
  readonly label: string;
  readonly storesUncompressed = true;
  readonly #tool: StoreTool;
  readonly #copy: ImageCopy;

  /** @param scratchParent where the copy goes: as much room as the image has uncompressed. */
  constructor(image: ImageReference, tool: StoreTool, scratchParent: string) {
    this.label = formatImageReference(image);
    this.#tool = tool;
    this.#copy = new ImageCopy((directory, signal) => tool.copy(directory, signal), scratchParent, this.label);
  }

  async top(signal?: AbortSignal): Promise<Document> {
    const bytes = await this.#tool.manifest(signal);
    return { bytes, digest: digestOf(bytes) };
  }

  manifest(descriptor: Descriptor): Promise<Document> {
    return Promise.reject(
      new RegistryError(
        'NotFound',
        `${this.label} is an index, of which a local store holds no more: name the image of one platform instead of ${descriptor.digest}.`,
      ),
    );
  }

  async *openBlob(descriptor: Descriptor, options: BlobReadOptions = {}): AsyncIterable<Buffer> {
    if (descriptor.mediaType === MEDIA_TYPE.config || descriptor.mediaType === MEDIA_TYPE.dockerConfig) {
      yield await this.#config(descriptor, options);
      return;
    }
    const content = await this.#copy.content(options.signal);
    const layer = (await layersOf(content, this.label, options.signal)).get(descriptor.digest);
    if (layer === undefined) {
      throw new RegistryError(
        'NotFound',
        `${this.label} has no layer ${descriptor.digest}: the image was changed meanwhile; try again.`,
      );
    }
    yield* content.openBlob(layer, options);
  }

  /** Layers have another form here than the manifest says, so nothing that is known of their parts is true. */
  // oxlint-disable-next-line require-yield
  async *openRange(descriptor: Descriptor): AsyncIterable<Buffer> {
    await Promise.reject(
      new RegistryError(
        'RangeUnsupported',
        `${this.label} keeps layer ${descriptor.digest} in another form: read the whole layer.`,
      ),
    );
  }

  async #config(descriptor: Descriptor, options: BlobReadOptions): Promise<Buffer> {
    const bytes = await this.#tool.config(options.signal);
    const verifier = new BlobVerifier(descriptor, this.label);
    verifier.update(bytes);
    verifier.finish();
    options.onBytes?.(bytes.length);
    return bytes;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#copy[Symbol.asyncDispose]();
  }
}

/** By the digest that they have in the copy: of what is uncompressed, the diff-id. */
async function layersOf(
  content: DirectoryContent,
  label: string,
  signal: AbortSignal | undefined,
): Promise<ReadonlyMap<string, Descriptor>> {
  const { bytes } = await content.top(signal);
  const { layers } = parseManifest(parseJsonObject(bytes, 'InvalidManifest', `The copied manifest of ${label}`), label);
  return new Map(layers.map((layer) => [layer.digest, layer]));
}
