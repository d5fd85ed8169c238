/**
 * How large the tar stream of a compressed layer may be. What is written is held against the free space file by file, so
 * this is about what costs time only: content that is dropped or is there already, and endless zeros behind the archive.
 */
import { ImportError } from './errors.ts';

/** Real layers expand to 2 to 10 times their size; files of nothing but zeros are why it may be much more. */
const MAX_RATIO = 250;
/** Small layers may expand to this in any case. */
const ALWAYS_BYTES = 1024 ** 3;

/** @param compressedBytes of the blob, as its descriptor says */
export function maxTarBytes(compressedBytes: number): number {
  return Math.max(ALWAYS_BYTES, compressedBytes * MAX_RATIO);
}

/** A layer that is made to expand as none does: refused for good, where other faults have it fetched in another way. */
export class ExpandsTooFar extends ImportError {
  /** @param digest of the blob. @param limit bytes that its tar stream may have */
  constructor(digest: string, limit: number) {
    super(
      'InvalidLayer',
      `layer ${digest} expands to more than ${limit} bytes, as no real layer of its size does; have the image built again`,
    );
  }
}
