/** The order of names inside OSTree objects: `strcmp` on UTF-8 bytes, which for some text is not JavaScript's order. */

// Only from the surrogates on does the order of UTF-16 code units differ from that of UTF-8 bytes.
// eslint-disable-next-line no-misleading-character-class
const BEYOND_SIMPLE = /[\ud800-\uffff]/;

/** Compares two names by their UTF-8 bytes: negative, zero or positive. */
export function compareNames(a: string, b: string): number {
  if (a === b) return 0;
  if (BEYOND_SIMPLE.test(a) || BEYOND_SIMPLE.test(b)) return Buffer.compare(Buffer.from(a), Buffer.from(b));
  return a < b ? -1 : 1;
}
