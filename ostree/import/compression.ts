/** Layer media types and what has to happen to the bytes before they are a tar stream. */
import type { Transform, TransformOptions } from 'node:stream';
import { constants, createGunzip, createZstdDecompress, type ZlibOptions, type ZstdOptions } from 'node:zlib';
// Not the index: the process that unpacks needs nothing else of the room.
import { MEDIA_TYPE } from '../../registry/oci.ts';
import { ImportError } from './errors.ts';

/** Output is produced in pieces of this size; zlib's default of 16 KiB costs half the speed. */
const OUTPUT_BYTES = 512 * 1024;
/** Output that may wait for its consumer: so much decompression runs ahead of tar, hashing and writing, on another CPU. */
const WAITING_BYTES = 2 * 1024 * 1024;
/**
 * What a zstd frame may have decompressors remember, as a power of two: 32 MiB. Nothing that writes images takes more (8
 * usually), and several layers are decompressed at once.
 */
const MAX_WINDOW_LOG = 25;

/** For whatever decompresses zstd. */
export const ZSTD_PARAMETERS = { [constants.ZSTD_d_windowLogMax]: MAX_WINDOW_LOG };

export type Compression = 'none' | 'gzip' | 'zstd';

/** @throws {ImportError} `InvalidImage` for a media type that is no tar layer. */
export function compressionOf(mediaType: string): Compression {
  switch (mediaType) {
    case MEDIA_TYPE.layerTar:
    case MEDIA_TYPE.dockerLayer:
      return 'none';
    case MEDIA_TYPE.layerGzip:
    case MEDIA_TYPE.dockerLayerGzip:
      return 'gzip';
    case MEDIA_TYPE.layerZstd:
      return 'zstd';
    default:
      throw new ImportError('InvalidImage', `unhandled layer type ${mediaType}; only tar layers can be imported`);
  }
}

/** A stream that decompresses, or undefined when there is nothing to do. */
export function createDecompressor(compression: Exclude<Compression, 'none'>): Transform;
export function createDecompressor(compression: Compression): Transform | undefined;
export function createDecompressor(compression: Compression): Transform | undefined {
  // zlib's streams take the options of streams, although their types do not say so.
  const options: ZlibOptions & ZstdOptions & TransformOptions = {
    chunkSize: OUTPUT_BYTES,
    readableHighWaterMark: WAITING_BYTES,
  };
  switch (compression) {
    case 'none':
      return undefined;
    case 'gzip':
      return createGunzip(options);
    case 'zstd':
      return createZstdDecompress({ ...options, params: ZSTD_PARAMETERS });
  }
}

/** What is wrong with the data that made a decompressor fail, for a sentence about it; undefined if it failed of something else. */
export function faultOfData(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error) || !/^(Z_|ZSTD_)/.test(String(error.code))) return undefined;
  if (error.code !== 'ZSTD_error_frameParameter_windowTooLarge') return error.message;
  const most = 2 ** (MAX_WINDOW_LOG - 20);
  return `its zstd window is larger than the ${most} MiB that are allowed; have it compressed with --long=${MAX_WINDOW_LOG} at most`;
}

/**
 * Gives a chunk of a decompressor's output back at once. Left to the garbage collector, hundreds of megabytes of them
 * make it run dozens of times per layer. zlib cuts chunks from one buffer after the other: the last has no rest behind it.
 */
export function release(chunk: Buffer): void {
  const { buffer } = chunk;
  const isLast = chunk.byteOffset + chunk.length === OUTPUT_BYTES && buffer.byteLength === OUTPUT_BYTES;
  if (isLast && buffer instanceof ArrayBuffer) buffer.transfer(0);
}
