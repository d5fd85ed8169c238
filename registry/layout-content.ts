/** An image in an OCI image layout (directory or archive) as a `ContentStore`. */
import { type ContentStore, type Document, MANIFEST_MAX_BYTES } from './content.ts';
import { digestOf, hexOf } from './digest.ts';
import { parseIndex, parseJsonObject } from './document.ts';
import { printable, RegistryError } from './errors.ts';
import { formatImageReference, type ImageReference, invalid } from './image-reference.ts';
import type { BlobReadOptions } from './image-source.ts';
import type { LayoutFiles } from './layout-files.ts';
import type { Descriptor } from './oci.ts';
import { readStoredBlob, readStoredPart } from './stored-blob.ts';
import { verifyDocument } from './verification.ts';

/** Index annotation under which an image layout keeps tags (OCI image spec, annotations). */
export const REF_NAME = 'org.opencontainers.image.ref.name';

export interface LayoutName {
  readonly path: string;
  readonly ref?: string;
}

/**
 * Splits `path[:ref]` at the first colon, as containers-transports(5) does.
 * @throws RegistryError `InvalidReference`
 */
export function parseLayoutName(image: ImageReference): LayoutName {
  const colon = image.name.indexOf(':');
  const path = colon < 0 ? image.name : image.name.slice(0, colon);
  const ref = colon < 0 ? undefined : image.name.slice(colon + 1);
  if (path === '' || ref === '') {
    throw invalid(formatImageReference(image), `must be ${image.transport}:PATH or ${image.transport}:PATH:REF`);
  }
  return { path, ...(ref === undefined ? {} : { ref }) };
}

export function blobPath(digest: string): string {
  return `blobs/sha256/${hexOf(digest)}`;
}

export class LayoutContent implements ContentStore {
  readonly label: string;
  readonly #files: LayoutFiles;
  readonly #ref: string | undefined;

  constructor(files: LayoutFiles, ref: string | undefined, label: string) {
    this.#files = files;
    this.#ref = ref;
    this.label = label;
  }

  async top(signal?: AbortSignal): Promise<Document> {
    signal?.throwIfAborted();
    const bytes = await this.#files.read('index.json', MANIFEST_MAX_BYTES);
    const what = `The index.json of ${this.label}`;
    const entries = parseIndex(parseJsonObject(bytes, 'InvalidManifest', what), this.label).manifests;
    return await this.manifest(this.#choose(entries), signal);
  }

  async manifest(descriptor: Descriptor, signal?: AbortSignal): Promise<Document> {
    signal?.throwIfAborted();
    const bytes = await this.#files.read(blobPath(descriptor.digest), MANIFEST_MAX_BYTES);
    verifyDocument(bytes, descriptor, this.label);
    return { bytes, mediaType: descriptor.mediaType, digest: digestOf(bytes) };
  }

  openBlob(descriptor: Descriptor, options?: BlobReadOptions): AsyncIterable<Buffer> {
    return readStoredBlob(this.#files, blobPath(descriptor.digest), descriptor, this.label, options);
  }

  openRange(descriptor: Descriptor, offset: number, length: number, options?: BlobReadOptions): AsyncIterable<Buffer> {
    return readStoredPart(this.#files, blobPath(descriptor.digest), descriptor, offset, length, options);
  }

  #choose(entries: readonly Descriptor[]): Descriptor {
    const ref = this.#ref;
    const matches = ref === undefined ? entries : entries.filter((entry) => entry.annotations?.[REF_NAME] === ref);
    if (matches.length === 1 && matches[0] !== undefined) return matches[0];
    const names = entries.map((entry) => entry.annotations?.[REF_NAME] ?? entry.digest).slice(0, 20);
    const offered = names.length === 0 ? 'no image' : printable(names.join(', '));
    if (ref === undefined) {
      throw new RegistryError('NotFound', `${this.label} holds ${offered}: append :REF to say which image is meant.`);
    }
    const count = matches.length === 0 ? 'no' : 'more than one';
    throw new RegistryError(
      'NotFound',
      `${this.label} names ${count} image in its index.json (which holds ${offered}): check the part after the colon.`,
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#files[Symbol.asyncDispose]();
  }
}
