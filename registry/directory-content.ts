/** An image in a `dir:` of containers-transports(5): `manifest.json` and, beside it, blobs named by their hex digits. */
import { type ContentStore, type Document, MANIFEST_MAX_BYTES } from './content.ts';
import { digestOf, hexOf } from './digest.ts';
import type { BlobReadOptions } from './image-source.ts';
import { DirectoryFiles } from './layout-files.ts';
import type { Descriptor } from './oci.ts';
import { readStoredBlob, readStoredPart } from './stored-blob.ts';
import { verifyDocument } from './verification.ts';

export class DirectoryContent implements ContentStore {
  readonly label: string;
  readonly #files: DirectoryFiles;

  constructor(path: string, label: string) {
    this.#files = new DirectoryFiles(path);
    this.label = label;
  }

  /** The directory does not say of what media type it is: the manifest itself does. */
  async top(signal?: AbortSignal): Promise<Document> {
    signal?.throwIfAborted();
    const bytes = await this.#files.read('manifest.json', MANIFEST_MAX_BYTES);
    return { bytes, digest: digestOf(bytes) };
  }

  async manifest(descriptor: Descriptor, signal?: AbortSignal): Promise<Document> {
    signal?.throwIfAborted();
    const bytes = await this.#files.read(`${hexOf(descriptor.digest)}.manifest.json`, MANIFEST_MAX_BYTES);
    verifyDocument(bytes, descriptor, this.label);
    return { bytes, mediaType: descriptor.mediaType, digest: descriptor.digest };
  }

  openBlob(descriptor: Descriptor, options?: BlobReadOptions): AsyncIterable<Buffer> {
    return readStoredBlob(this.#files, hexOf(descriptor.digest), descriptor, this.label, options);
  }

  openRange(descriptor: Descriptor, offset: number, length: number, options?: BlobReadOptions): AsyncIterable<Buffer> {
    return readStoredPart(this.#files, hexOf(descriptor.digest), descriptor, offset, length, options);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#files[Symbol.asyncDispose]();
  }
}
