/** What an importer needs of an image, whatever transport it comes over. */
import type { Descriptor, ImageConfig, ImageManifest } from './oci.ts';

export interface Platform {
  readonly os: string;
  /** In OCI's terms: amd64, arm64, … */
  readonly architecture: string;
}

/** A per-platform image. Manifest and config are in OCI form even when the registry served docker schema 2. */
export interface ResolvedImage {
  /** Digest of the original bytes of the per-platform manifest: never of the index, never of the converted form. */
  readonly digest: string;
  readonly manifest: ImageManifest;
  readonly config: ImageConfig;
  /**
   * By digest in the manifest: what to give to `openBlob` instead of the manifest's descriptor, for layers whose stored
   * bytes are of another media type or digest than the manifest says. Absent or empty when all is as it says.
   */
  readonly storedBlobs?: ReadonlyMap<string, Descriptor>;
}

/** The beginning of a blob. Nothing about it is trusted. */
export interface KnownBytes {
  /** Bytes. */
  readonly length: number;
  read(): AsyncIterable<Buffer>;
}

export interface BlobReadOptions {
  readonly signal?: AbortSignal;
  /** The first bytes, where the caller has them: they are read and verified from there, and only the rest is fetched. */
  readonly known?: KnownBytes;
  /** The caller keeps no chunk beyond asking for the next: its memory may be given back by then. */
  readonly transient?: boolean;
  /** Called with the number of compressed bytes that have newly arrived. */
  readonly onBytes?: (count: number) => void;
}

export interface ImageSource extends AsyncDisposable {
  /** Fetches manifest and config for `platform`; throws a RegistryError if there is none. */
  resolve(platform: Platform, signal?: AbortSignal): Promise<ResolvedImage>;
  /**
   * Streams a blob's bytes exactly as stored (compressed). Size and digest are verified; the stream throws at its end,
   * before `done`, when they are wrong, so nothing read from it may be trusted until it has ended. A cut connection is
   * resumed with a `Range` request inside the stream. RegistryError `WrongMirror` means that reading again, from the
   * start, asks another place; there are only so many.
   */
  openBlob(descriptor: Descriptor, options?: BlobReadOptions): AsyncIterable<Buffer>;
  /**
   * Streams `length` bytes of a blob from `offset` on: exactly so many, or it throws. There is no digest to check a part
   * against, so whoever asks must know one of what is inside. Throws RegistryError `RangeUnsupported`, before any byte,
   * when the server only gives whole blobs; RangeError when the part is not inside `descriptor.size`.
   */
  openRange(descriptor: Descriptor, offset: number, length: number, options?: BlobReadOptions): AsyncIterable<Buffer>;
}

/** Where an image can be written. Blobs first, then the manifest. */
export interface ImageDestination extends AsyncDisposable {
  hasBlob(descriptor: Descriptor, signal?: AbortSignal): Promise<boolean>;
  /** Writes a blob whose digest and size are known; does nothing if it is already there. */
  putBlob(descriptor: Descriptor, content: () => AsyncIterable<Buffer>, signal?: AbortSignal): Promise<void>;
  /** Writes the manifest and makes it reachable under the destination's tag, atomically. Returns its digest. */
  putManifest(manifest: ImageManifest, signal?: AbortSignal): Promise<string>;
}
