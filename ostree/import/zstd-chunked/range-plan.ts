/**
 * Which parts of a blob to ask for, so that all that is lacking comes and little else does.
 *
 * A request costs a round trip, and a server may count them, so what lies between two lacking files is fetched with them
 * unless it is large; and of the parts that could be left out, only the largest are, however many there are.
 */

/** Bytes of the blob from `start` up to `end`. */
export interface Range {
  readonly start: number;
  readonly end: number;
}

export interface RangeLimits {
  /** Parts of the blob that are asked for, at most. */
  readonly maxRanges: number;
  /** A part that is here is left out only when it has at least so many bytes. */
  readonly minSkippedBytes: number;
}

/**
 * Ranges, in order, that cover all `needed` ones (sorted, not overlapping, possibly adjacent or empty).
 */
export function planRanges(needed: Iterable<Range>, limits: RangeLimits): readonly Range[] {
  const pieces = joinAdjacent(needed);
  const gaps = pieces.slice(1).map((piece, index) => ({ index, size: piece.start - (pieces[index]?.end ?? 0) }));
  const skipped = new Set(
    gaps
      .filter(({ size }) => size >= limits.minSkippedBytes)
      .sort((a, b) => b.size - a.size)
      .slice(0, Math.max(0, limits.maxRanges - 1))
      .map(({ index }) => index),
  );
  const ranges: Range[] = [];
  for (const [index, piece] of pieces.entries()) {
    const last = ranges.at(-1);
    if (last === undefined || skipped.has(index - 1)) ranges.push(piece);
    else ranges[ranges.length - 1] = { start: last.start, end: piece.end };
  }
  return ranges;
}

export function totalBytes(ranges: readonly Range[]): number {
  return ranges.reduce((sum, { start, end }) => sum + end - start, 0);
}

function joinAdjacent(ranges: Iterable<Range>): readonly Range[] {
  const joined: Range[] = [];
  for (const range of ranges) {
    if (range.end <= range.start) continue;
    const last = joined.at(-1);
    if (last?.end === range.start) joined[joined.length - 1] = { start: last.start, end: range.end };
    else joined.push(range);
  }
  return joined;
}
