/**
 * Finds what does not compress: modules, firmware and an initramfs are compressed already. Deflate spends as long on them as on
 * anything else, and wins nothing. The answer hangs on the bytes alone, in whole numbers: layers must be the same everywhere.
 */
import { WINDOW_BYTES } from './pinned-deflate.ts';

/** Judged as a whole. */
const BLOCK_BYTES = 4096;
/** Blocks of the shortest run: to cut out a shorter one costs more than to deflate it. */
const LEAST_BLOCKS = 8;
/** Of so many bytes the first ones count; several in a row, so that no column of a table is all that is seen. */
const SAMPLE_STRIDE = 56;
const SAMPLE_BYTES = 8;
/** How often two bytes of a block are alike: as often as two random ones, one pair in 256, or a quarter more. */
const EVEN = 5;
const EVEN_OF = 4;
/** Sequences are looked for where the lowest bits of the byte that they begin with are zero: at one place in sixteen. */
const PROBE_MASK = 15;
/** Of the 256 sequences of a block that are looked for. */
const TOO_MANY_REPEATS = 4;
const SLOT_BITS = 13;
/** Knuth's multiplier: spreads what is hashed over the upper bits. */
const MULTIPLIER = 0x9e3779b1;

/** From `start` up to, not including, `end`. */
export interface Run {
  readonly start: number;
  readonly end: number;
}

/** The runs of `bytes`, from `from` on, of which deflate would win hardly anything, in order. It may look back before `from`. */
export function storedRuns(bytes: Uint8Array, from: number): readonly Run[] {
  const repeats = new RepeatFinder(bytes);
  const all = { start: from, end: bytes.length };
  return runsOf(all, (block) => looksEven(bytes, block) && !repeats.areWithin(block)).flatMap((run) => {
    const old = repeats.blocksSeenBefore(run);
    return runsOf(run, ({ start }) => !old.has(start));
  });
}

/** Runs of at least LEAST_BLOCKS blocks of `range`. Looks at the last block of a possible run first: mostly that is the only one. */
function runsOf({ start, end }: Run, isOfRun: (block: Run) => boolean): Run[] {
  const count = Math.floor((end - start) / BLOCK_BYTES);
  const isGood = (index: number): boolean => isOfRun(blockAt(start, index));
  const runs: Run[] = [];
  /** Blocks from `first` up to, not including, `known` are good. */
  let [first, known] = [0, 0];
  while (first + LEAST_BLOCKS <= count) {
    let last = first + LEAST_BLOCKS;
    let at = last - 1;
    while (at >= known && isGood(at)) at--;
    if (at >= known) {
      [first, known] = [at + 1, last];
      continue;
    }
    while (last < count && isGood(last)) last++;
    runs.push({ start: blockAt(start, first).start, end: blockAt(start, last).start });
    [first, known] = [last + 1, last + 1];
  }
  return runs;
}

function blockAt(start: number, index: number): Run {
  return { start: start + index * BLOCK_BYTES, end: start + (index + 1) * BLOCK_BYTES };
}

const COUNTS = new Uint32Array(256);

/** Whether all byte values are about as frequent, by a sample: Huffman codes win little from those that are. */
function looksEven(bytes: Uint8Array, { start, end }: Run): boolean {
  COUNTS.fill(0);
  let pairs = 0;
  let samples = 0;
  for (let sample = start; sample + SAMPLE_BYTES <= end; sample += SAMPLE_STRIDE) {
    for (let at = sample; at < sample + SAMPLE_BYTES; at++) {
      const value = bytes[at] ?? 0;
      const count = COUNTS[value] ?? 0;
      pairs += count;
      COUNTS[value] = count + 1;
    }
    samples += SAMPLE_BYTES;
  }
  return pairs * 2 * COUNTS.length * EVEN_OF <= samples * (samples - 1) * EVEN;
}

/** Finds sequences of four bytes that were there before: random bytes do compress the second time. */
class RepeatFinder {
  readonly #bytes: Uint8Array;
  /** Behind the place where a sequence of each hash began last. */
  readonly #places = new Int32Array(1 << SLOT_BITS);

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  /** Whether the block repeats itself. */
  areWithin(block: Run): boolean {
    return this.#count(block, block.start, TOO_MANY_REPEATS) >= TOO_MANY_REPEATS;
  }

  /** Where the blocks of `run` start that repeat what deflate can look back to. */
  blocksSeenBefore(run: Run): ReadonlySet<number> {
    this.#count({ start: Math.max(0, run.start - WINDOW_BYTES), end: run.start }, 0, Infinity);
    const found = new Set<number>();
    for (let { start } = run; start < run.end; start += BLOCK_BYTES) {
      if (this.#count({ start, end: start + BLOCK_BYTES }, 0, Infinity) >= TOO_MANY_REPEATS) found.add(start);
    }
    return found;
  }

  /** How many of the sequences that begin in `range` began before, but not before `first`; it stops counting at `enough`. */
  #count({ start, end }: Run, first: number, enough: number): number {
    const [bytes, places] = [this.#bytes, this.#places];
    const last = Math.min(end, bytes.length - 3);
    let repeats = 0;
    for (let at = start; at < last && repeats < enough; at++) {
      if (((bytes[at] ?? 0) & PROBE_MASK) !== 0) continue;
      const sequence = sequenceAt(bytes, at);
      const slot = Math.imul(sequence, MULTIPLIER) >>> (32 - SLOT_BITS);
      const place = (places[slot] ?? 0) - 1;
      places[slot] = at + 1;
      const isInReach = place >= first && place < at && at - place <= WINDOW_BYTES;
      if (isInReach && sequenceAt(bytes, place) === sequence) repeats++;
    }
    return repeats;
  }
}

function sequenceAt(bytes: Uint8Array, at: number): number {
  return (bytes[at] ?? 0) | ((bytes[at + 1] ?? 0) << 8) | ((bytes[at + 2] ?? 0) << 16) | ((bytes[at + 3] ?? 0) << 24);
}
