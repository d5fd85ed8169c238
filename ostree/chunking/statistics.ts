/** The statistics by which the base-line packing tells large from small. Source: OSTree native containers, packing. */

export interface Spread {
  readonly centre: number;
  /** How far values usually are from the centre. */
  readonly deviation: number;
}

/** Median, and the median of the distances from it; `values` are sorted. Undefined if there are none. */
export function medianSpread(values: readonly number[]): Spread | undefined {
  const centre = median(values);
  if (centre === undefined) return undefined;
  const distances = values.map((value) => Math.abs(value - centre)).sort((a, b) => a - b);
  return { centre, deviation: median(distances) ?? 0 };
}

/** Mean and the standard deviation of the whole population. Undefined if there are no values. */
export function meanSpread(values: readonly number[]): Spread | undefined {
  if (values.length === 0) return undefined;
  const centre = values.reduce((sum, value) => sum + value, 0) / values.length;
  const variance = values.reduce((sum, value) => sum + (centre - value) ** 2, 0) / values.length;
  return { centre, deviation: Math.sqrt(variance) };
}

function median(sorted: readonly number[]): number | undefined {
  const upper = sorted[Math.floor(sorted.length / 2)];
  const lower = sorted[Math.floor((sorted.length - 1) / 2)];
  return upper === undefined || lower === undefined ? undefined : 0.5 * (lower + upper);
}
