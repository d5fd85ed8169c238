/**
 * zstd whose bytes are always the same: those of the libzstd inside the Node that we ship. There is no second one to fall
 * back on, so that another one is refused.
 *
 * Source: RFC 8878; docs/decisions, "Compressed bytes are pinned".
 */
import { createHash } from 'node:crypto';
import process from 'node:process';
import { constants, zstdCompressSync } from 'node:zlib';
import { knownBytes } from './known-bytes.ts';

/** What other tools of containers take, too. */
export const ZSTD_LEVEL = 3;
const SAMPLE_BYTES = 192 * 1024;
const ANSWER = 'df134ef224041fb611277735aa5a68ea619dc3a65a2f2b8070ed4ccac47fd3b3';
/** Of a frame beyond its content, at most: that of incompressible blocks and the header. */
const FRAME_OVERHEAD_BYTES = 512;

/** One frame, with the size of its content in its header. */
export function zstdFrame(bytes: Uint8Array, level: number): Buffer {
  return zstdCompressSync(bytes, {
    params: { [constants.ZSTD_c_compressionLevel]: level, [constants.ZSTD_c_contentSizeFlag]: 1 },
    pledgedSrcSize: bytes.length,
    chunkSize: bytes.length + (bytes.length >> 8) + FRAME_OVERHEAD_BYTES,
  });
}

/** Throws an Error that says what to do, unless zstd makes the pinned bytes of a sample. */
export function requirePinnedZstd(): void {
  const digest = createHash('sha256')
    .update(zstdFrame(knownBytes(SAMPLE_BYTES), ZSTD_LEVEL))
    .digest('hex');
  if (digest === ANSWER) return;
  throw new Error(
    `the zstd ${process.versions['zstd'] ?? ''} of Node ${process.version} makes other bytes than the one that digests hang on; ` +
      'use Node 26.10, or gzip',
  );
}
