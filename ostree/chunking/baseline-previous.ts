/** Keeps an earlier layout as the reference implementation does. Source: OSTree native containers, packing. */
import { compareNames } from '../objects/name-order.ts';
import type { Component } from './component.ts';
import type { Layout } from './previous-layout.ts';

/**
 * Bins as in `previous`, without the components that are gone, and with new ones in the last. Undefined if these are more
 * than `maxLayers`: the layout has to be made anew. Where the reference ends in a panic because several components have
 * one name, they stay together.
 */
export function keepBaseline(
  components: readonly Component[],
  previous: Layout,
  maxLayers: number,
): readonly (readonly Component[])[] | undefined {
  const byName = Map.groupBy(components, ({ name }) => name);
  const bins = previous.map((names) => names.flatMap((name) => take(byName, name)));
  const added = Array.from(byName.keys())
    .sort(compareNames)
    .flatMap((name) => take(byName, name));
  const last = bins.length - 1;
  const kept = bins
    .map((bin, at) => (at === last ? [...bin, ...added] : bin))
    .filter((bin, at) => at === last || bin.length > 0);
  return kept.length > maxLayers ? undefined : kept;
}

function take(byName: Map<string, Component[]>, name: string): readonly Component[] {
  const found = byName.get(name) ?? [];
  byName.delete(name);
  return found;
}
