/**
 * How large the tar stream in a blob is, as its compressed form says it. That is an estimate: nothing vouches for these
 * numbers, and of several streams in one blob only one is seen.
 */

/** What the last bytes of a gzip stream say: the size modulo 2^32 (RFC 1952, section 2.3.1). */
export const GZIP_SIZE_BYTES = 4;
const GZIP_MODULUS = 2 ** 32;
/** As long as a zstd frame's header can be, magic number included (RFC 8878, section 3.1.1). */
export const ZSTD_HEADER_BYTES = 18;
const ZSTD_MAGIC = 0xfd2fb528;
/** By the two highest bits of the frame header's descriptor. */
const ZSTD_SIZE_FIELD_BYTES = [0, 2, 4, 8] as const;
const ZSTD_DICTIONARY_ID_BYTES = [0, 1, 2, 4] as const;

/** Compression that gains nothing adds less than a hundredth, beside headers and a trailer. */
const LEAST_RATIO = 0.99;
const FRAME_BYTES = 64;
/** Whoever says nothing more about a large layer is believed no more than this. */
const MOST_LARGE_RATIO = 6;
/** Tar streams consist of blocks. */
const TAR_BLOCK_BYTES = 512;

/** From the last four bytes of a gzip blob of `compressed` bytes; undefined when they cannot be those of a tar stream. */
export function gzipContentSize(trailer: Buffer, compressed: number): number | undefined {
  const remainder = trailer.readUInt32LE(0);
  // Several members in one blob: the last is no whole tar stream, and often empty.
  if (remainder === 0 || remainder % TAR_BLOCK_BYTES !== 0) return undefined;
  const least = leastSize(compressed);
  if (remainder >= least) return remainder;
  const size = remainder + Math.ceil((least - remainder) / GZIP_MODULUS) * GZIP_MODULUS;
  return size <= MOST_LARGE_RATIO * compressed ? size : undefined;
}

/** From the first bytes of a zstd blob of `compressed` bytes; undefined when they do not say it, or not of all of it. */
export function zstdContentSize(header: Buffer, compressed: number): number | undefined {
  if (header.length < 5 || header.readUInt32LE(0) !== ZSTD_MAGIC) return undefined;
  const descriptor = header[4] ?? 0;
  const isSingleSegment = (descriptor & 0x20) !== 0;
  const flag = descriptor >> 6;
  const length = flag === 0 && isSingleSegment ? 1 : (ZSTD_SIZE_FIELD_BYTES[flag] ?? 0);
  const at = 5 + (isSingleSegment ? 0 : 1) + (ZSTD_DICTIONARY_ID_BYTES[descriptor & 3] ?? 0);
  if (length === 0 || header.length < at + length) return undefined;
  const size = readSize(header, at, length);
  const isWhole = Number.isSafeInteger(size) && size % TAR_BLOCK_BYTES === 0 && size >= leastSize(compressed);
  return isWhole && size > 0 ? size : undefined;
}

function leastSize(compressed: number): number {
  return LEAST_RATIO * compressed - FRAME_BYTES;
}

function readSize(header: Buffer, at: number, length: number): number {
  if (length === 8) return Number(header.readBigUInt64LE(at));
  // Two bytes never stand for what one could say.
  return header.readUIntLE(at, length) + (length === 2 ? 256 : 0);
}
