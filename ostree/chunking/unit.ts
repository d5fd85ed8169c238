/** Components that change together, so that it costs nothing to have them in one layer: those of one source package. */
import { compareNames } from '../objects/name-order.ts';
import { changeProbability } from './change-rate.ts';
import type { Component } from './component.ts';

export interface Unit {
  /** The source package. */
  readonly source: string;
  readonly components: readonly Component[];
  /** Bytes. */
  readonly size: number;
  /** That it changes in a build: of that component which changes most. */
  readonly probability: number;
}

/** Units in a fixed order. Components of one name are in one unit: a layout tells them apart by nothing else. */
export function unitsOf(components: readonly Component[]): readonly Unit[] {
  const sources = new Map<string, string>();
  const unitOf = new Map<string, string>();
  const sorted = components.toSorted((a, b) => compareNames(a.id, b.id));
  for (const { source, name } of sorted) {
    const known = unitOf.get(name) ?? sources.get(source) ?? source;
    unitOf.set(name, known);
    if (!sources.has(source)) sources.set(source, known);
  }
  const groups = Map.groupBy(sorted, ({ name }) => unitOf.get(name) ?? name);
  return Array.from(groups, ([source, members]) => unit(source, members)).sort((a, b) =>
    compareNames(a.source, b.source),
  );
}

/** A unit of these components. */
export function unit(source: string, components: readonly Component[]): Unit {
  return {
    source,
    components,
    size: components.reduce((sum, { size }) => sum + size, 0),
    probability: Math.max(...components.map(changeProbability)),
  };
}
