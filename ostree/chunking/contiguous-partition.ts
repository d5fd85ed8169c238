/**
 * The best division of units in a given order into at most so many layers of neighbours: dynamic programming over the end
 * of each layer, in time of the number of layers and the square of the number of units.
 */
import { EMPTY, expectedBytes, type Changing, type LayerContent, plus } from './layer-cost.ts';

/** `maxLayers` is at least 1. */
export function partitionInOrder<T extends Changing>(
  units: readonly T[],
  maxLayers: number,
): readonly (readonly T[])[] {
  const count = units.length;
  if (count === 0) return [];
  const costs = rangeCosts(units);
  let best = Float64Array.from({ length: count + 1 }, (_, end) => costs[0]?.[end] ?? 0);
  /** For each number of layers, where the last of them begins when the units up to an index are divided so. */
  const starts: Int32Array[] = [new Int32Array(count + 1)];
  for (let layers = 2; layers <= Math.min(maxLayers, count); layers++) {
    const { costs: next, starts: from, improved } = addLayer(best, costs);
    if (!improved) break;
    best = next;
    starts.push(from);
  }
  return cutAt(units, starts);
}

/** `[start][length]`: what that many units from `start` on cost as one layer. */
function rangeCosts(units: readonly Changing[]): readonly Float64Array[] {
  return units.map((_, start) => {
    const row = new Float64Array(units.length - start + 1);
    let content: LayerContent = EMPTY;
    for (let length = 1; length < row.length; length++) {
      content = plus(content, units[start + length - 1] as Changing);
      row[length] = expectedBytes(content);
    }
    return row;
  });
}

function addLayer(
  best: Float64Array,
  costs: readonly Float64Array[],
): { readonly costs: Float64Array<ArrayBuffer>; readonly starts: Int32Array; readonly improved: boolean } {
  const next = Float64Array.from(best);
  // Where one layer more does not help, the last one is empty: it starts at its own end.
  const starts = Int32Array.from(best.keys());
  let improved = false;
  for (const [start, row] of costs.entries()) {
    const before = best[start] as number;
    for (let length = 1; length < row.length; length++) {
      const cost = before + (row[length] as number);
      const end = start + length;
      if (cost >= (next[end] as number)) continue;
      next[end] = cost;
      starts[end] = start;
      improved = true;
    }
  }
  return { costs: next, starts, improved };
}

function cutAt<T>(units: readonly T[], starts: readonly Int32Array[]): readonly (readonly T[])[] {
  const layers: (readonly T[])[] = [];
  let end = units.length;
  for (const row of starts.toReversed()) {
    const start = row[end] as number;
    if (start < end) layers.push(units.slice(start, end));
    end = start;
  }
  return layers.toReversed();
}
