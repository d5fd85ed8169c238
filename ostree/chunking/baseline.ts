/**
 * The packing of the reference implementation: large components alone, small ones together, the others by how often they
 * change, what changes always together, and an empty layer for what comes later.
 *
 * Source: OSTree native containers, packing; judged bin by bin by `ostree-ext` 0.15.3. Where that one ends in a panic,
 * because no component is of medium size, there are no layers of such.
 */
import { partition } from './baseline-partition.ts';
import { type Component, MAX_FREQUENCY } from './component.ts';

/** Of the layers that are free to use, as a number of 32 bits as the reference computes with. */
const LARGE_SHARE = Math.fround(0.6);

/** Bins of components, one for each layer. `components` are sorted by descending size; `maxLayers` is at least 4. */
export function packBaseline(components: readonly Component[], maxLayers: number): readonly (readonly Component[])[] {
  if (components.length === 0) return [];
  if (components.length < maxLayers) return [...components.map((component) => [component]), []];
  const always = components.filter(({ changeFrequency }) => changeFrequency === MAX_FREQUENCY);
  const others = components.filter(({ changeFrequency }) => changeFrequency !== MAX_FREQUENCY);
  const alwaysBins = always.length > 0 ? [always] : [];
  return [...packByPartition(others, maxLayers - alwaysBins.length - 1), ...alwaysBins, []];
}

/** `maxBins` includes the one for small components. */
function packByPartition(components: readonly Component[], maxBins: number): readonly (readonly Component[])[] {
  if (components.length === 0) return [];
  const maxLarge = Math.floor(Math.fround(LARGE_SHARE * (maxBins - 1)));
  const maxMedium = maxBins - 1 - maxLarge;
  const { large, small, medium } = partition(components, maxLarge);
  // Negative where few components are left for many layers: the reference computes without a sign, so no bin is ever full.
  const left = components.length - maxLarge - small.length;
  const perBin = left < 0 ? Number.POSITIVE_INFINITY : Math.floor(left / maxMedium);
  const bins: (readonly Component[])[] = large.map((component) => [component]);
  if (small.length > 0) bins.push(small);
  for (const members of medium) bins.push(...cut(members, perBin));
  mergeSurplus(bins, maxBins, 1 + maxLarge);
  return bins;
}

/** Bins of `perBin` each. With 0 the reference starts with an empty bin, then puts one component into each. */
function cut(members: readonly Component[], perBin: number): readonly (readonly Component[])[] {
  const step = Math.max(1, perBin);
  const bins: (readonly Component[])[] = perBin === 0 ? [[]] : [];
  for (let from = 0; from < members.length; from += step) bins.push(members.slice(from, from + step));
  return bins;
}

/**
 * Merges neighbours, every other pair from the end, until there are no more than `maxBins`; the first `fixed` stay as they
 * are, if there are as many. A merged bin comes after the one that followed it: an oddity of the reference.
 */
function mergeSurplus(bins: (readonly Component[])[], maxBins: number, fixed: number): void {
  while (bins.length > maxBins) {
    const last = fixed + 2 * Math.floor((bins.length - 2 - fixed) / 2);
    for (let at = last; at >= fixed && bins.length > maxBins; at -= 2) {
      const merged = bins.splice(at - 1, 2).flat();
      bins.splice(at, 0, merged);
    }
  }
}
