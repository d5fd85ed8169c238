/** Divides the components of a commit among the layers of an image. */
import { OstreeError } from '../errors.ts';
import { compareNames } from '../objects/name-order.ts';
import { keepBaseline } from './baseline-previous.ts';
import { packBaseline } from './baseline.ts';
import { baselineName, chunkName } from './chunk-name.ts';
import type { Chunk } from './chunk.ts';
import type { Component } from './component.ts';
import { freshLayout } from './fresh-layout.ts';
import { keptLayout } from './kept-layout.ts';
import { COMPONENT_SEPARATOR, type Layout } from './previous-layout.ts';

/** `default` fetches least in updates; `baseline` is what the reference implementation does. */
export type PackingAlgorithm = 'default' | 'baseline';

export interface PackOptions {
  /** Without the layer of the commit. */
  readonly maxLayers: number;
  /** The layout of an earlier image, to be kept as far as it goes. */
  readonly previous?: Layout | undefined;
  readonly algorithm: PackingAlgorithm;
}

export const DEFAULT_MAX_LAYERS = 64;
/** With fewer, the reference implementation has no use for its kinds of layers. */
const MIN_BASELINE_LAYERS = 4;

/**
 * Chunks in the order of the layers. The same components and options always give the same ones, in whatever order the
 * components come; every object of theirs is in exactly one. A component without objects is in none.
 * @throws {OstreeError} InvalidData for too few layers, and for names that a layer's annotation cannot carry.
 */
export function pack(components: readonly Component[], options: PackOptions): readonly Chunk[] {
  const { maxLayers, algorithm } = options;
  const least = algorithm === 'baseline' ? MIN_BASELINE_LAYERS : 1;
  if (!Number.isInteger(maxLayers) || maxLayers < least) {
    throw new OstreeError('InvalidData', `An image cannot be packed into ${maxLayers} layers; allow ${least} or more`);
  }
  const present = components.filter(({ objects }) => objects.length > 0);
  for (const { id, name } of present) checkName(id, name);
  // From large to small, as the reference wants it; by identifier where sizes are equal.
  const sorted = present.toSorted((a, b) => b.size - a.size || compareNames(a.id, b.id));
  const bins = algorithm === 'baseline' ? baselineBins(sorted, options) : defaultBins(sorted, options);
  const describe = algorithm === 'baseline' ? baselineName : chunkName;
  return bins.map((bin) => {
    const templates = bin.flatMap((component) => component.templates ?? []).sort(compareNames);
    return {
      name: describe(bin),
      components: Array.from(new Set(bin.map(({ name }) => name))).sort(compareNames),
      objects: bin.flatMap(({ objects }) => objects).sort(),
      ...(templates.length > 0 && { templates }),
    };
  });
}

function baselineBins(components: readonly Component[], { maxLayers, previous }: PackOptions) {
  const kept = previous === undefined ? undefined : keepBaseline(components, previous, maxLayers);
  return kept ?? packBaseline(components, maxLayers);
}

function defaultBins(components: readonly Component[], { maxLayers, previous }: PackOptions) {
  const kept = previous === undefined ? undefined : keptLayout(components, previous, maxLayers);
  if (kept !== undefined) return kept;
  return freshLayout(components, maxLayers).map((layer) =>
    layer.flatMap(({ components }) => components).sort((a, b) => compareNames(a.id, b.id)),
  );
}

function checkName(id: string, name: string): void {
  if (name !== '' && !name.includes(COMPONENT_SEPARATOR)) return;
  throw new OstreeError(
    'InvalidData',
    `The component ${id} is called ${JSON.stringify(name)}; a name must not be empty or hold a comma`,
  );
}
