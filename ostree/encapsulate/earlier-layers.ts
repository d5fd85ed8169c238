/**
 * Layers of an earlier image that a new one takes over: where the tar is the same, and the annotation says that it was
 * compressed as it would be now, its bytes are those that compressing it again would give.
 */
import type { Descriptor, ImageDestination, ImageSource, ResolvedImage } from '../../registry/index.ts';
import { COMPONENTS_ANNOTATION } from '../chunking/previous-layout.ts';
import { type Compression, formatAnnotations } from './compression/compressed-layer.ts';
import { COMPRESSION_ANNOTATION, compressionRecord } from './compression/recipe.ts';

export interface EarlierImage {
  readonly image: Pick<ResolvedImage, 'manifest' | 'config' | 'storedBlobs'>;
  readonly source: Pick<ImageSource, 'openBlob'>;
}

export class EarlierLayers {
  readonly #source: EarlierImage['source'];
  readonly #byDiffId = new Map<string, Descriptor>();
  readonly #components = new Set<string>();

  constructor({ image, source }: EarlierImage, compression: Compression) {
    this.#source = source;
    const { manifest, config, storedBlobs } = image;
    for (const [at, layer] of manifest.layers.entries()) {
      const { annotations, digest } = layer;
      const [components, diffId] = [annotations?.[COMPONENTS_ANNOTATION], config.rootfs.diff_ids[at]];
      if (components === undefined || diffId === undefined || storedBlobs?.has(digest) === true) continue;
      if (annotations?.[COMPRESSION_ANNOTATION] !== compressionRecord(compression, digest)) continue;
      this.#byDiffId.set(diffId, layer);
      this.#components.add(components);
    }
  }

  /** Whether it is worth finding out the diff-id of a layer with these annotations before compressing it. */
  mayHave(annotations: Readonly<Record<string, string>> | undefined): boolean {
    const components = annotations?.[COMPONENTS_ANNOTATION];
    return components !== undefined && this.#components.has(components);
  }

  /** The layer with this diff-id, and what its descriptor must say of the format. */
  find(diffId: string): Descriptor | undefined {
    const layer = this.#byDiffId.get(diffId);
    if (layer === undefined) return undefined;
    const { mediaType, digest, size, annotations } = layer;
    return { mediaType, digest, size, annotations: formatAnnotations(annotations) };
  }

  /**
   * Puts the layer where the new image goes; nothing is read where that has it already. False: the earlier image cannot give
   * it any more. Throws what the destination throws.
   */
  async put(layer: Descriptor, destination: ImageDestination, options: PutOptions): Promise<boolean> {
    const { signal, counted } = options;
    let unreadable = false;
    const source = this.#source;
    const content = async function* (): AsyncGenerator<Buffer> {
      try {
        yield* source.openBlob(layer, signal === undefined ? {} : { signal });
      } catch (error) {
        unreadable = signal?.aborted !== true;
        throw error;
      }
    };
    try {
      await destination.putBlob(layer, counted(content), signal);
      return true;
    } catch (error) {
      if (unreadable) return false;
      throw error;
    }
  }
}

interface PutOptions {
  readonly signal: AbortSignal | undefined;
  /** The same content, counted as it is read. */
  readonly counted: (content: () => AsyncIterable<Buffer>) => () => AsyncIterable<Buffer>;
}
