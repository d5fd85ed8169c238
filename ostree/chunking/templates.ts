/**
 * What configuration was copied from: files of packages, that lie with the configuration as long as they are equal to it. An
 * image says which these are, so that the next one keeps them there when the copy has been changed.
 */
import type { ImageManifest } from '../../registry/index.ts';

/** On the layer with the configuration: their paths, as a list in JSON. */
export const TEMPLATES_ANNOTATION = 'dev.treeline.templates';

/** More are left out, the last ones by name: a manifest is fetched with each look for an update. A Debian has a dozen. */
const MAX_TEMPLATES = 1000;

/** The annotation with these paths; none if there are none. */
export function templatesAnnotation(paths: readonly string[]): Readonly<Record<string, string>> {
  if (paths.length === 0) return {};
  return { [TEMPLATES_ANNOTATION]: JSON.stringify(paths.slice(0, MAX_TEMPLATES)) };
}

/** Paths of all that the layers of an image name. What is no list of paths is passed over: it costs a layer, once. */
export function templatesOf({ layers }: Pick<ImageManifest, 'layers'>): ReadonlySet<string> {
  return new Set(layers.flatMap(({ annotations }) => parsed(annotations?.[TEMPLATES_ANNOTATION] ?? '[]')));
}

function parsed(text: string): readonly string[] {
  try {
    const paths: unknown = JSON.parse(text);
    return Array.isArray(paths) ? paths.filter((path) => typeof path === 'string') : [];
  } catch {
    return [];
  }
}
