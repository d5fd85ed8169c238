/** What the image's history says of a layer. */
import { compareNames } from '../objects/name-order.ts';
import type { Component } from './component.ts';

/** More are counted, not listed. */
const MAX_LISTED = 5;
const MAX_EXAMPLES = 3;

/** The text of the reference implementation. Source: OSTree native containers, packing. */
export function baselineName(components: readonly Component[]): string {
  if (components.length === 0) return 'Reserved for new packages';
  if (components.length > MAX_LISTED) return `${components.length} components`;
  return components.map(({ id }) => id).join(' and ');
}

/** The same, with the largest of many, so that a person can tell the layers apart. */
export function chunkName(components: readonly Component[]): string {
  if (components.length <= MAX_LISTED) return baselineName(components);
  const largest = components.toSorted((a, b) => b.size - a.size || compareNames(a.id, b.id)).slice(0, MAX_EXAMPLES);
  const others = components.length - largest.length;
  return `${largest.map(({ id }) => id).join(' and ')} and ${others} others`;
}
