/**
 * How the base-line packing sorts components into classes of size and change frequency.
 *
 * Source: OSTree native containers, packing; judged bin by bin by `ostree-ext` 0.15.3.
 */
import type { Component } from './component.ts';
import { meanSpread, medianSpread, type Spread } from './statistics.ts';

type Level = 'high' | 'medium' | 'low';

export interface Partition {
  /** A layer for each: so much larger than the rest. */
  readonly large: readonly Component[];
  /** All of them share one layer. */
  readonly small: readonly Component[];
  /** The others, in classes from often to seldom changed. Each is sorted by frequency. */
  readonly medium: readonly (readonly Component[])[];
}

/** How many deviations from the centre count as high. */
const THRESHOLD = 2;
/** Order of the classes: the text by which the reference implementation sorts them. */
const FREQUENCY_KEY: Readonly<Record<Level, string>> = { high: '3hf', medium: '4mf', low: '5lf' };
const SIZE_KEY: Readonly<Record<Level, string>> = { high: 'hs', medium: 'ms', low: 'ls' };

/** `components` are sorted by descending size; at most `maxLarge` of them count as large. */
export function partition(components: readonly Component[], maxLarge: number): Partition {
  const size = classifier(medianSpread(components.map((component) => component.size)));
  const classes: Record<Level, Component[]> = { high: [], medium: [], low: [] };
  for (const component of components) classes[size(component.size)].push(component);
  const surplus = classes.high.splice(maxLarge);
  return { large: classes.high, small: classes.low, medium: mediumClasses([...surplus, ...classes.medium]) };
}

function mediumClasses(components: readonly Component[]): readonly (readonly Component[])[] {
  const sorted = components.toSorted((a, b) => a.changeFrequency - b.changeFrequency);
  const frequency = classifier(meanSpread(sorted.map(({ changeFrequency }) => changeFrequency)));
  const size = classifier(meanSpread(sorted.map((component) => component.size)));
  const classes = new Map<string, Component[]>();
  for (const component of sorted) {
    const key = `${FREQUENCY_KEY[frequency(component.changeFrequency)]}_${SIZE_KEY[size(component.size)]}`;
    const members = classes.get(key);
    if (members === undefined) classes.set(key, [component]);
    else members.push(component);
  }
  return Array.from(classes)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([, members]) => members);
}

function classifier(spread: Spread | undefined): (value: number) => Level {
  if (spread === undefined) return () => 'medium';
  const high = spread.centre + THRESHOLD * spread.deviation;
  // The absolute value keeps the limit positive where values are spread widely.
  const low = 0.5 * Math.abs(spread.centre - THRESHOLD * spread.deviation);
  return (value) => {
    if (value >= high) return 'high';
    return value <= low ? 'low' : 'medium';
  };
}
