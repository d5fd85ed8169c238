/** What every transport offers to what stands on top of it: bytes by name and by digest, nothing interpreted. */
import type { BlobReadOptions } from './image-source.ts';
import type { Descriptor } from './oci.ts';

/** Limit of the OCI distribution specification's advice, and of the registries in use. */
export const MANIFEST_MAX_BYTES = 4 * 1024 * 1024;
/** A config carries one entry per layer; megabytes of it are an attack on memory. */
export const CONFIG_MAX_BYTES = 8 * 1024 * 1024;

export interface Document {
  /** Exactly as stored. */
  readonly bytes: Buffer;
  /** What the transport says it is, when it says so. */
  readonly mediaType?: string | undefined;
  /** Of `bytes`, computed by us. */
  readonly digest: string;
}

export interface ContentStore extends AsyncDisposable {
  /** The image as a person would name it, for messages: `quay.io/a/os:v2`. */
  readonly label: string;
  /** Layers are kept uncompressed, under their diff-ids, whatever the manifest calls them. */
  readonly storesUncompressed?: boolean;
  /** The manifest or index that the reference points at. */
  top(signal?: AbortSignal): Promise<Document>;
  /** A manifest by digest, size and digest verified. */
  manifest(descriptor: Descriptor, signal?: AbortSignal): Promise<Document>;
  /** See `ImageSource.openBlob`. */
  openBlob(descriptor: Descriptor, options?: BlobReadOptions): AsyncIterable<Buffer>;
  /** See `ImageSource.openRange`. */
  openRange(descriptor: Descriptor, offset: number, length: number, options?: BlobReadOptions): AsyncIterable<Buffer>;
}
