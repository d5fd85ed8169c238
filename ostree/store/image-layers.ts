/** An image's layers with what its history says about each, and how two images differ in them. */
import type { ImageConfig, ImageManifest } from '../../registry/index.ts';
import { COMPONENT_SEPARATOR, COMPONENTS_ANNOTATION } from '../chunking/previous-layout.ts';

export interface DescribedLayer {
  readonly digest: string;
  /** Compressed bytes. */
  readonly size: number;
  /** Digest of the uncompressed tar, if the config names it. */
  readonly diffId?: string;
  readonly created?: string;
  readonly createdBy?: string;
  /** Names of the packages in a layer of a chunked image. */
  readonly components?: readonly string[];
}

/**
 * The layers in order. History entries without a layer of their own (`ENV`, `LABEL`, …) are passed over; an image whose
 * history is too short, which host tools refuse to list, has layers without a description at the end; so has one of which
 * only the manifest is known.
 */
export function describeLayers(image: {
  readonly manifest: ImageManifest;
  readonly config?: ImageConfig;
}): readonly DescribedLayer[] {
  const { manifest, config } = image;
  const history = (config?.history ?? []).filter((entry) => entry.empty_layer !== true);
  return manifest.layers.map(({ digest, size, annotations }, index) => {
    const components = annotations?.[COMPONENTS_ANNOTATION]?.split(COMPONENT_SEPARATOR);
    const diffId = config?.rootfs.diff_ids[index];
    const { created, created_by: createdBy } = history[index] ?? {};
    return {
      digest,
      size,
      ...(diffId !== undefined && { diffId }),
      // `created` may be null in images of other builders.
      ...(typeof created === 'string' && { created }),
      ...(createdBy !== undefined && { createdBy }),
      ...(components !== undefined && { components: components.filter((name) => name !== '') }),
    };
  });
}

export interface LayerSum {
  readonly layers: number;
  /** Compressed bytes. */
  readonly bytes: number;
}

export interface ImageComparison {
  /** All of the new image. */
  readonly total: LayerSum;
  /** In both. */
  readonly shared: LayerSum;
  /** In the old image only. */
  readonly removed: LayerSum;
  /** In the new image only: what an update has to fetch. */
  readonly added: LayerSum;
  readonly addedLayers: readonly DescribedLayer[];
  readonly removedLayers: readonly DescribedLayer[];
}

/** How an update from `before` to `after` changes the layers, each counted once, by the digest of its blob. */
export function compareLayers(before: readonly DescribedLayer[], after: readonly DescribedLayer[]): ImageComparison {
  const [old, current] = [distinct(before), distinct(after)];
  const addedLayers = [...current.values()].filter(({ digest }) => !old.has(digest));
  const removedLayers = [...old.values()].filter(({ digest }) => !current.has(digest));
  return {
    total: sum([...current.values()]),
    shared: sum([...current.values()].filter(({ digest }) => old.has(digest))),
    removed: sum(removedLayers),
    added: sum(addedLayers),
    addedLayers,
    removedLayers,
  };
}

function distinct(layers: readonly DescribedLayer[]): ReadonlyMap<string, DescribedLayer> {
  return new Map(layers.map((layer) => [layer.digest, layer]));
}

function sum(layers: readonly DescribedLayer[]): LayerSum {
  return { layers: layers.length, bytes: layers.reduce((bytes, { size }) => bytes + size, 0) };
}
