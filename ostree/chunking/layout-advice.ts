/** Whether an earlier layout is still worth keeping. */
import type { Chunk } from './chunk.ts';
import type { Component } from './component.ts';
import { keptLayout, sourcesOf } from './kept-layout.ts';
import { contentOf, expectedBytes } from './layer-cost.ts';
import { pack, type PackOptions } from './pack.ts';

export type LayoutAdvice =
  /** It has more layers than are allowed now, so the image does not have it. */
  | { readonly kind: 'Discarded' }
  /** An average update fetches notably more than it would with a new layout. Bytes, before compression. */
  | { readonly kind: 'Worn'; readonly expectedBytes: number; readonly freshBytes: number };

/** A new layout costs each node about a whole image, once: it has to earn that. */
const WORN_RATIO = 1.25;
/** Bytes in an update. */
const WORN_BYTES = 1_000_000;

/** What to say of `previous` to whoever asked that it be kept, and got `chunks`; undefined if all is well. */
export function adviseOnLayout(
  components: readonly Component[],
  chunks: readonly Chunk[],
  { previous, ...options }: PackOptions,
): LayoutAdvice | undefined {
  if (previous === undefined) return undefined;
  if (keptLayout(components, previous, options.maxLayers) === undefined) return { kind: 'Discarded' };
  const kept = costOf(components, chunks);
  const fresh = costOf(components, pack(components, options));
  if (kept < WORN_RATIO * fresh || kept < fresh + WORN_BYTES) return undefined;
  return { kind: 'Worn', expectedBytes: kept, freshBytes: fresh };
}

/** Bytes that an average update fetches of these layers. */
function costOf(components: readonly Component[], chunks: readonly Chunk[]): number {
  const byName = Map.groupBy(components, ({ name }) => name);
  return chunks
    .map((chunk) => chunk.components.flatMap((name) => byName.get(name) ?? []))
    .reduce((sum, members) => sum + expectedBytes(contentOf(sourcesOf(members))), 0);
}
