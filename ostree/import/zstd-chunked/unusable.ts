/**
 * A layer that cannot be fetched in parts. It is not refused for that: a whole blob is verified by its digest, whatever
 * its table of contents says, so whoever catches this fetches the whole and passes the reason on.
 */
export class PartialFetchUnusable extends Error {
  override readonly name = 'PartialFetchUnusable';
}
