/** Compression by what the bytes say, for archives that do not tell: `docker save` names every layer `layer.tar`. */
import { pipeline } from 'node:stream';
import { createGunzip, createZstdDecompress } from 'node:zlib';
import { reasonOf, RegistryError } from './errors.ts';

export type Compression = 'none' | 'gzip' | 'zstd';

/** Pieces of output; zlib's default of 16 KiB costs half the speed. */
const OUTPUT_BYTES = 256 * 1024;

/** @param head at least the first four bytes, if there are so many. */
export function compressionOfBytes(head: Buffer): Compression {
  if (head[0] === 0x1f && head[1] === 0x8b) return 'gzip';
  if (head.length >= 4 && head.readUInt32LE(0) === 0xfd2fb528) return 'zstd';
  return 'none';
}

/** @throws RegistryError `InvalidLayout` when it cannot be decompressed; whatever `bytes` throws. */
export async function* decompress(
  bytes: AsyncIterable<Buffer>,
  compression: Exclude<Compression, 'none'>,
  label: string,
): AsyncIterable<Buffer> {
  const options = { chunkSize: OUTPUT_BYTES };
  const decompressor = compression === 'gzip' ? createGunzip(options) : createZstdDecompress(options);
  // The iteration below is where errors are seen; the callback only keeps them from being thrown elsewhere.
  const output = pipeline(bytes, decompressor, () => undefined);
  try {
    yield* output as AsyncIterable<Buffer>;
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && /^(Z_|ZSTD_)/.test(String(error.code)))) throw error;
    throw new RegistryError(
      'InvalidLayout',
      `A layer in ${label} cannot be decompressed (${reasonOf(error)}): it is damaged; save the image again.`,
      error,
    );
  }
}
