/**
 * Keeps an earlier layout: what stays, stays where it is, so that its layers keep their digests; what is gone vanishes; what
 * is new goes where it does least harm. Nothing is moved, however much better another place would be.
 */
import { compareNames } from '../objects/name-order.ts';
import { type Component, isExclusive } from './component.ts';
import { changeProbabilityOf, contentOf, expectedBytes } from './layer-cost.ts';
import type { Layout } from './previous-layout.ts';
import { type Unit, unit, unitsOf } from './unit.ts';

/** Updates to come over which the place of a new package is judged; fetching a layer only to add to it is paid once. */
const HORIZON = 12;

/** Components in the layers of `previous`, in its order; undefined if more than `maxLayers` are left of it. */
export function keptLayout(
  components: readonly Component[],
  previous: Layout,
  maxLayers: number,
): readonly (readonly Component[])[] | undefined {
  const { layers, added } = match(components, previous);
  const kept = layers.filter((layer) => layer.length > 0);
  if (kept.length > maxLayers) return undefined;
  // The largest first: they need the free layers most.
  const units = unitsOf(added).toSorted((a, b) => b.size - a.size || compareNames(a.source, b.source));
  for (const newcomer of units) place(newcomer, kept, maxLayers);
  return kept;
}

interface Matched {
  readonly layers: (readonly Component[])[];
  readonly added: readonly Component[];
}

/** By name; then by what is left of it without numbers, as `linux-image-6.1.0-18` makes room for `linux-image-6.1.0-20`. */
function match(components: readonly Component[], previous: Layout): Matched {
  const waiting = Map.groupBy(
    components.toSorted((a, b) => compareNames(a.id, b.id)),
    ({ name }) => name,
  );
  const take = (name: string): readonly Component[] => {
    const found = waiting.get(name) ?? [];
    waiting.delete(name);
    return found;
  };
  const gone: { readonly name: string; readonly layer: number }[] = [];
  const layers = previous.map((names, layer) =>
    names.flatMap((name) => {
      const found = take(name);
      if (found.length === 0) gone.push({ name, layer });
      return found;
    }),
  );
  const successors = Map.groupBy(waiting.keys(), withoutNumbers);
  for (const { name, layer } of gone) {
    const heirs = successors.get(withoutNumbers(name)) ?? [];
    layers[layer] = [...(layers[layer] ?? []), ...heirs.flatMap(take)];
  }
  return { layers, added: Array.from(waiting.values()).flat() };
}

function withoutNumbers(name: string): string {
  return name.replaceAll(/\d+(?:[.-]\d+)*/g, '#');
}

/** Puts `newcomer` into the layer of `layers` where it does least harm, or into a new one. */
function place(newcomer: Unit, layers: (readonly Component[])[], maxLayers: number): void {
  const isFree = layers.length < maxLayers;
  const alone = HORIZON * expectedBytes(contentOf([newcomer]));
  let least = isFree ? alone : Number.POSITIVE_INFINITY;
  let best = layers.length;
  const apart = isExclusive(newcomer.components);
  for (const [at, layer] of layers.entries()) {
    if (isFree && (apart || isExclusive(layer))) continue;
    const harm = harmIn(layer, newcomer);
    if (harm >= least) continue;
    least = harm;
    best = at;
  }
  layers[best] = [...(layers[best] ?? []), ...newcomer.components];
}

/** Bytes over the horizon: the layer is fetched now, if it would not be anyway, and more is fetched, more often, later. */
function harmIn(layer: readonly Component[], newcomer: Unit): number {
  const before = contentOf(sourcesOf(layer));
  const after = contentOf(sourcesOf([...layer, ...newcomer.components]));
  const now = before.size * (1 - changeProbabilityOf(before));
  return now + HORIZON * (expectedBytes(after) - expectedBytes(before));
}

/** Components of one source change together, also in a layer that holds only some of them. */
export function sourcesOf(layer: readonly Component[]): readonly Unit[] {
  return Array.from(
    Map.groupBy(layer, ({ source }) => source),
    ([source, members]) => unit(source, members),
  );
}
