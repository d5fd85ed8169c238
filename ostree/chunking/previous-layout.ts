/** The layout of an image that exists: which components its layers hold. Source: ostree-container format, annotations. */
import type { ImageManifest } from '../../registry/index.ts';
import { OstreeError } from '../errors.ts';

/** Names of the components of each layer, without the layer of the commit. */
export type Layout = readonly (readonly string[])[];

/** The annotation of a chunk's layer: the names of its components, sorted. */
export const COMPONENTS_ANNOTATION = 'ostree.components';
export const COMPONENT_SEPARATOR = ',';

/**
 * The layout that `manifest` tells of; `image` names it in errors. Layers that somebody put on top do not count.
 * @throws {OstreeError} InvalidData if the image is not chunked.
 */
export function layoutOf(image: string, manifest: ImageManifest): Layout {
  const layers = manifest.layers.map(({ annotations }) => annotations?.[COMPONENTS_ANNOTATION]);
  const last = layers.findLastIndex((components) => components !== undefined);
  if (last < 1) {
    throw notChunked(image, `no layer has the annotation ${COMPONENTS_ANNOTATION}`);
  }
  return layers.slice(1, last + 1).map((components, at) => {
    if (components === undefined) throw notChunked(image, `layer ${at + 1} has no annotation ${COMPONENTS_ANNOTATION}`);
    return components.split(COMPONENT_SEPARATOR).filter((name) => name !== '');
  });
}

function notChunked(image: string, reason: string): OstreeError {
  return new OstreeError(
    'InvalidData',
    `${image} has no layout to keep: ${reason}; name an image that was made in chunks, or leave the previous one out`,
  );
}
