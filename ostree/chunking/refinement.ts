/** Improves a division into layers by moving one unit at a time, as long as that lowers what an update costs. */
import { type Changing, contentOf, expectedBytes, type LayerContent, minus, plus } from './layer-cost.ts';

/** Rounds over all units; a few suffice, and every one of them can only improve. */
const MAX_ROUNDS = 12;
/** Bytes; smaller gains may be nothing but rounding. */
const LEAST_GAIN = 1;

/** Returns layers without empty ones. */
export function refine<T extends Changing>(layers: readonly (readonly T[])[]): readonly (readonly T[])[] {
  const members = layers.map((layer) => new Set(layer));
  const contents = layers.map(contentOf);
  for (let round = 0; round < MAX_ROUNDS; round++) {
    if (!moveAll(members, contents)) break;
  }
  return members.filter((layer) => layer.size > 0).map((layer) => Array.from(layer));
}

function moveAll<T extends Changing>(members: readonly Set<T>[], contents: LayerContent[]): boolean {
  let moved = false;
  for (const [from, layer] of members.entries()) {
    for (const unit of Array.from(layer)) {
      const to = betterPlace(unit, from, contents);
      if (to === undefined) continue;
      layer.delete(unit);
      members[to]?.add(unit);
      contents[from] = minus(contents[from] as LayerContent, unit);
      contents[to] = plus(contents[to] as LayerContent, unit);
      moved = true;
    }
  }
  return moved;
}

function betterPlace(unit: Changing, from: number, contents: readonly LayerContent[]): number | undefined {
  const here = contents[from] as LayerContent;
  const saved = expectedBytes(here) - expectedBytes(minus(here, unit));
  let best: number | undefined;
  let least = saved - LEAST_GAIN;
  for (const [to, there] of contents.entries()) {
    if (to === from) continue;
    const added = expectedBytes(plus(there, unit)) - expectedBytes(there);
    if (added >= least) continue;
    best = to;
    least = added;
  }
  return best;
}
