/** What a mirror needs of a repository, whatever holds it: a registry, or an image layout in a directory. */
import type { Document } from '../content.ts';
import type { BlobReadOptions } from '../image-source.ts';
import type { Descriptor } from '../oci.ts';

/** A manifest or an index with its media type, which is part of what a registry keeps. */
export type TypedDocument = Document & { readonly mediaType: string };

interface MirroredRepository extends AsyncDisposable {
  /** `host/name`: where it comes from, whatever holds it now; empty where that was not written down. */
  readonly name: string;
  /** What a tag or digest stands for, its digest verified; undefined where there is none. */
  document(reference: string, signal?: AbortSignal): Promise<Document | undefined>;
  /** What refers to a digest, by the referrers API of OCI distribution 1.1; undefined where that is not offered. */
  referrers(digest: string, signal?: AbortSignal): Promise<readonly Descriptor[] | undefined>;
}

export interface SourceRepository extends MirroredRepository {
  /** Its tags, in no order. */
  tags(signal?: AbortSignal): Promise<readonly string[]>;
  /** See `ImageSource.openBlob`. */
  openBlob(descriptor: Descriptor, options?: BlobReadOptions): AsyncIterable<Buffer>;
}

export interface DestinationRepository extends MirroredRepository {
  /** Whether the source is a neighbour, whose blobs need no transfer. */
  readonly isNeighbour: boolean;
  /** What stands there under a tag or digest; undefined where nothing does. */
  digestOf(reference: string, signal?: AbortSignal): Promise<string | undefined>;
  hasBlob(descriptor: Descriptor, signal?: AbortSignal): Promise<boolean>;
  /** Takes a blob over from the neighbour; false where it does not give it. */
  mountBlob(descriptor: Descriptor, signal?: AbortSignal): Promise<boolean>;
  /** Writes a blob, verified; does nothing if it is there. */
  putBlob(descriptor: Descriptor, content: () => AsyncIterable<Buffer>, signal?: AbortSignal): Promise<void>;
  /** Writes a document under its digest. */
  putDocument(document: TypedDocument, signal?: AbortSignal): Promise<void>;
  /** Makes a document that is there reachable: under a tag, or under its digest where that needs an entry of its own. */
  publish(document: TypedDocument, reference: string, signal?: AbortSignal): Promise<void>;
}
