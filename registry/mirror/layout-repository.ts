/**
 * One repository in an image layout. The layout is shared, so its documents are named in full there: `host/name:tag`, and
 * `host/name@sha256:…` for one without a tag. Tags of attachments are entries like any other, and stand in for the
 * referrers API.
 */
import { type Document, MANIFEST_MAX_BYTES } from '../content.ts';
import { digestOf, isDigest } from '../digest.ts';
import { RegistryError } from '../errors.ts';
import type { BlobReadOptions } from '../image-source.ts';
import { blobPath, REF_NAME } from '../layout-content.ts';
import { once } from '../once.ts';
import type { Descriptor } from '../oci.ts';
import { readStoredBlob } from '../stored-blob.ts';
import { verifyDocument } from '../verification.ts';
import type { LayoutStore } from './layout-store.ts';
import type { DestinationRepository, SourceRepository, TypedDocument } from './repository.ts';

export class LayoutRepository implements SourceRepository, DestinationRepository {
  readonly name: string;
  readonly isNeighbour = false;
  readonly #store: LayoutStore;

  /** @param name `host/name`; empty for what the layout names by a tag alone. */
  constructor(store: LayoutStore, name: string) {
    this.#store = store;
    this.name = name;
  }

  async tags(): Promise<readonly string[]> {
    const prefix = this.#nameOf('');
    const names = (await this.#store.entries()).map((entry) => entry.annotations?.[REF_NAME] ?? '');
    return names.filter((name) => name.startsWith(prefix)).map((name) => name.slice(prefix.length));
  }

  async document(reference: string, signal?: AbortSignal): Promise<Document | undefined> {
    signal?.throwIfAborted();
    const entry = isDigest(reference) ? { digest: reference } : await this.#entry(reference);
    if (entry === undefined) return undefined;
    const bytes = await this.#read(entry.digest);
    if (bytes === undefined) return undefined;
    verifyDocument(bytes, entry, this.#store.path);
    return { bytes, digest: digestOf(bytes), ...('mediaType' in entry ? { mediaType: entry.mediaType } : {}) };
  }

  referrers(): Promise<undefined> {
    return Promise.resolve(undefined);
  }

  openBlob(descriptor: Descriptor, options?: BlobReadOptions): AsyncIterable<Buffer> {
    return readStoredBlob(this.#store.files, blobPath(descriptor.digest), descriptor, this.#store.path, options);
  }

  async digestOf(reference: string, signal?: AbortSignal): Promise<string | undefined> {
    return (await this.document(reference, signal))?.digest;
  }

  hasBlob(descriptor: Descriptor): Promise<boolean> {
    return this.#store.blobs.hasBlob(descriptor);
  }

  mountBlob(): Promise<boolean> {
    return Promise.resolve(false);
  }

  putBlob(descriptor: Descriptor, content: () => AsyncIterable<Buffer>, signal?: AbortSignal): Promise<void> {
    return this.#store.blobs.putBlob(descriptor, content, signal);
  }

  async putDocument({ bytes, mediaType, digest }: TypedDocument, signal?: AbortSignal): Promise<void> {
    await this.#store.blobs.putBlob({ mediaType, digest, size: bytes.length }, () => once(bytes), signal);
  }

  async publish({ bytes, mediaType, digest }: TypedDocument, reference: string): Promise<void> {
    const name = this.#nameOf(reference);
    const entries = await this.#store.entries();
    if (entries.some((entry) => entry.annotations?.[REF_NAME] === name && entry.digest === digest)) return;
    await this.#store.name({ mediaType, digest, size: bytes.length }, name);
  }

  async #entry(reference: string): Promise<Descriptor | undefined> {
    const name = this.#nameOf(reference);
    return (await this.#store.entries()).find((entry) => entry.annotations?.[REF_NAME] === name);
  }

  #nameOf(reference: string): string {
    if (this.name === '') return reference;
    return `${this.name}${isDigest(reference) ? '@' : ':'}${reference}`;
  }

  async #read(digest: string): Promise<Buffer | undefined> {
    try {
      return await this.#store.files.read(blobPath(digest), MANIFEST_MAX_BYTES);
    } catch (error) {
      if (error instanceof RegistryError && error.code === 'NotFound') return undefined;
      throw error;
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve();
  }
}
