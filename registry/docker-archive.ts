/**
 * An image in a `docker-archive:`, the tar that `docker save` writes. It has no manifest: one is made of what is there,
 * byte for byte as the containers/image library makes it, because its digest is what an import records.
 */
import { type ContentStore, CONFIG_MAX_BYTES, type Document, MANIFEST_MAX_BYTES } from './content.ts';
import { chooseImage, type DockerArchiveName, parseArchiveImages } from './docker-archive-index.ts';
import { digestOf } from './digest.ts';
import { parseConfig } from './document.ts';
import { RegistryError } from './errors.ts';
import type { BlobReadOptions } from './image-source.ts';
import { type Compression, compressionOfBytes, decompress } from './layer-compression.ts';
import { ArchiveFiles } from './layout-files.ts';
import { type Descriptor, MEDIA_TYPE } from './oci.ts';
import { readStoredBlob, readStoredPart } from './stored-blob.ts';
import { BlobVerifier } from './verification.ts';

interface ArchivedLayer {
  /** Member of the archive. */
  readonly path: string;
  readonly compression: Compression;
  /** Uncompressed. */
  readonly size: number;
}

interface ArchivedImage {
  readonly document: Document;
  readonly configPath: string;
  readonly configDigest: string;
  /** By diff-id. */
  readonly layers: ReadonlyMap<string, ArchivedLayer>;
}

export class DockerArchiveContent implements ContentStore {
  readonly label: string;
  readonly #files: ArchiveFiles;
  readonly #name: DockerArchiveName;
  #image: Promise<ArchivedImage> | undefined;

  constructor(name: DockerArchiveName, label: string) {
    this.#files = new ArchiveFiles(name.path);
    this.#name = name;
    this.label = label;
  }

  async top(signal?: AbortSignal): Promise<Document> {
    return (await this.#read(signal)).document;
  }

  manifest(descriptor: Descriptor): Promise<Document> {
    return Promise.reject(
      new RegistryError(
        'NotFound',
        `${this.label} has no manifest ${descriptor.digest}: such an archive has no index.`,
      ),
    );
  }

  async *openBlob(descriptor: Descriptor, options: BlobReadOptions = {}): AsyncIterable<Buffer> {
    const { path, compression } = await this.#find(descriptor, options.signal);
    if (compression === 'none') {
      yield* readStoredBlob(this.#files, path, descriptor, this.label, options);
      return;
    }
    const verifier = new BlobVerifier(descriptor, this.label);
    for await (const chunk of decompress(this.#files.stream(path, options.signal), compression, this.label)) {
      verifier.update(chunk);
      options.onBytes?.(chunk.length);
      yield chunk;
    }
    verifier.finish();
  }

  async *openRange(
    descriptor: Descriptor,
    offset: number,
    length: number,
    options: BlobReadOptions = {},
  ): AsyncIterable<Buffer> {
    const { path, compression } = await this.#find(descriptor, options.signal);
    if (compression !== 'none') {
      throw new RegistryError(
        'RangeUnsupported',
        `Layer ${descriptor.digest} of ${this.label} is compressed in its archive, so no part of it can be read: read the whole.`,
      );
    }
    yield* readStoredPart(this.#files, path, descriptor, offset, length, options);
  }

  async #find(
    { digest }: Descriptor,
    signal: AbortSignal | undefined,
  ): Promise<Pick<ArchivedLayer, 'path' | 'compression'>> {
    const image = await this.#read(signal);
    if (digest === image.configDigest) return { path: image.configPath, compression: 'none' };
    const layer = image.layers.get(digest);
    if (layer !== undefined) return layer;
    throw new RegistryError('NotFound', `${this.label} has no blob ${digest}: it belongs to another image.`);
  }

  /** Read once; a failure is not kept, because it may have been the first caller's signal. */
  #read(signal: AbortSignal | undefined): Promise<ArchivedImage> {
    this.#image ??= this.#load(signal).catch((error: unknown) => {
      this.#image = undefined;
      throw error;
    });
    return this.#image;
  }

  async #load(signal: AbortSignal | undefined): Promise<ArchivedImage> {
    signal?.throwIfAborted();
    const index = await this.#files.read('manifest.json', MANIFEST_MAX_BYTES);
    const { Config: configPath, Layers: paths } = chooseImage(
      parseArchiveImages(index, this.label),
      this.#name,
      this.label,
    );
    const configBytes = await this.#files.read(configPath, CONFIG_MAX_BYTES);
    const diffIds = parseConfig(configBytes, this.label).rootfs.diff_ids;
    if (diffIds.length !== paths.length) {
      throw new RegistryError(
        'InvalidManifest',
        `${this.label} lists ${paths.length} layers, but its config has ${diffIds.length}: it is damaged; save the image again.`,
      );
    }
    const layers = new Map<string, ArchivedLayer>();
    for (const [position, diffId] of diffIds.entries()) {
      if (!layers.has(diffId)) layers.set(diffId, await this.#measure(paths[position] ?? '', signal));
    }
    const config = { mediaType: MEDIA_TYPE.dockerConfig, size: configBytes.length, digest: digestOf(configBytes) };
    const bytes = Buffer.from(
      JSON.stringify({
        schemaVersion: 2,
        mediaType: MEDIA_TYPE.dockerManifest,
        config,
        // Not compressed, whatever this type says: the library's own choice, without which the digest would differ.
        layers: diffIds.map((digest) => ({
          mediaType: MEDIA_TYPE.dockerLayerGzip,
          size: layers.get(digest)?.size,
          digest,
        })),
      }),
    );
    const document = { bytes, mediaType: MEDIA_TYPE.dockerManifest, digest: digestOf(bytes) };
    return { document, configPath, configDigest: config.digest, layers };
  }

  async #measure(path: string, signal: AbortSignal | undefined): Promise<ArchivedLayer> {
    const stored = await this.#files.size(path);
    const compression = compressionOfBytes(await this.#files.head(path));
    if (compression === 'none') return { path, compression, size: stored };
    let size = 0;
    for await (const chunk of decompress(this.#files.stream(path, signal), compression, this.label))
      size += chunk.length;
    return { path, compression, size };
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#files[Symbol.asyncDispose]();
  }
}
