/**
 * What happened to a disk, in order, and what the disk may hold when the power goes at some point of it. A drive with a
 * volatile cache promises only what was written before the last flush; of the rest any part may have reached the medium,
 * in blocks of 4 KiB and in any order. The kernel's dm-log-writes keeps the same log, and replays whole prefixes of it.
 */

export type DiskEvent =
  /** `length` bytes went to `offset` of the disk; they lie at `position` of the data that was logged. */
  | { readonly kind: 'write'; readonly offset: number; readonly length: number; readonly position: number }
  | { readonly kind: 'flush' };

/** A piece of the logged data, and where on the disk it belongs. */
export interface DiskPatch {
  readonly offset: number;
  readonly length: number;
  readonly position: number;
}

/** What becomes of the writes that no flush has followed when the power goes. */
export type Cache =
  /** All of them are on the medium: the drive wrote in order, and the cut came right after. */
  | 'all'
  /** None is: nothing is written before it must be. */
  | 'none'
  /** Each block is or is not, by chance. */
  | 'some'
  /** All but one write: the last one ended in the middle of it, or an early one waited for long. */
  | 'one-missing';

export const CACHES: readonly Cache[] = ['all', 'none', 'some', 'one-missing'];

const BLOCK_BYTES = 4096;

/** Everything up to the last flush before `count` events: certain to be on the medium. Returns the number of events. */
export function durableCount(events: readonly DiskEvent[], count: number): number {
  for (let index = Math.min(count, events.length); index > 0; index--) {
    if (events[index - 1]?.kind === 'flush') return index;
  }
  return 0;
}

/** The writes among `events[from..to)`, in order. */
export function writesBetween(events: readonly DiskEvent[], from: number, to: number): readonly DiskPatch[] {
  return events.slice(from, to).flatMap((event) => (event.kind === 'write' ? [event] : []));
}

/**
 * Of writes that no flush has followed, those parts that are on the medium after the cut, in the order of writing.
 *
 * @param random in [0, 1)
 */
export function survivors(writes: readonly DiskPatch[], cache: Cache, random: () => number): readonly DiskPatch[] {
  switch (cache) {
    case 'all':
      return writes;
    case 'none':
      return [];
    case 'some': {
      const kept = random();
      return writes.flatMap(blocksOf).filter(() => random() < kept);
    }
    case 'one-missing': {
      const missing = Math.floor(random() * writes.length);
      return writes.filter((_, index) => index !== missing);
    }
  }
}

function blocksOf({ offset, length, position }: DiskPatch): readonly DiskPatch[] {
  const blocks: DiskPatch[] = [];
  for (let done = 0; done < length;) {
    // Up to the next block boundary of the disk: a drive never tears a block.
    const size = Math.min(length - done, BLOCK_BYTES - ((offset + done) % BLOCK_BYTES));
    blocks.push({ offset: offset + done, length: size, position: position + done });
    done += size;
  }
  return blocks;
}
