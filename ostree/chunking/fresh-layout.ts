/**
 * Our own packing, from nothing: what changes with every build is alone, so that it drags nothing along, and the source
 * packages are divided so that an average update fetches as few bytes as possible.
 */
import { partitionInOrder } from './contiguous-partition.ts';
import { contentOf, expectedBytes } from './layer-cost.ts';
import { type Component, isExclusive, MAX_FREQUENCY } from './component.ts';
import { refine } from './refinement.ts';
import { unitsOf, type Unit } from './unit.ts';

/** Bytes; several smaller things that change with every build share a layer. */
const WORTH_A_LAYER = 64 * 1024;
/** Of the layers, kept free for packages that come later. */
const SPARE_SHARE = 1 / 16;

/** In which neighbours are alike: none is best for every tree, and each takes a moment. */
const ORDERS: readonly ((unit: Unit) => number)[] = [
  ({ probability }) => probability,
  ({ size }) => size,
  ({ probability, size }) => size / -Math.log1p(-probability),
];

/** Units in their layers, at most `maxLayers` of them. */
export function freshLayout(components: readonly Component[], maxLayers: number): readonly (readonly Unit[])[] {
  const units = unitsOf(components);
  const available = Math.max(1, maxLayers - Math.floor(maxLayers * SPARE_SHARE));
  const alone = aloneLayers(units, Math.floor(available / 2));
  const placed = new Set(alone.flat());
  const others = units.filter((unit) => !placed.has(unit));
  return [...divide(others, available - alone.length), ...alone];
}

/** Layers of what changes with every build, and of what the maker of the tree wants apart. */
function aloneLayers(units: readonly Unit[], maxLayers: number): readonly (readonly Unit[])[] {
  const always = units.filter((unit) =>
    unit.components.some(({ changeFrequency }) => changeFrequency === MAX_FREQUENCY),
  );
  const large = always.filter(({ size }) => size >= WORTH_A_LAYER);
  const small = always.filter(({ size }) => size < WORTH_A_LAYER);
  const layers = [...large.map((unit) => [unit]), ...(small.length > 0 ? [small] : [])];
  if (layers.length > maxLayers) return divide(always, maxLayers);
  const exclusive = units.filter((unit) => isExclusive(unit.components)).toSorted((a, b) => b.size - a.size);
  return [...layers, ...exclusive.slice(0, maxLayers - layers.length).map((unit) => [unit])];
}

function divide(units: readonly Unit[], maxLayers: number): readonly (readonly Unit[])[] {
  if (units.length === 0 || maxLayers < 1) return [];
  const candidates = ORDERS.map((key) => {
    const sorted = units.toSorted((a, b) => key(a) - key(b) || a.size - b.size);
    return refine(partitionInOrder(sorted, maxLayers));
  });
  const costs = candidates.map((layers) => layers.reduce((sum, layer) => sum + expectedBytes(contentOf(layer)), 0));
  return candidates[costs.indexOf(Math.min(...costs))] ?? [];
}
