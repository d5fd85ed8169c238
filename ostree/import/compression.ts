/** Layer media types and what has to happen to the bytes before they are a tar stream. */
import type { Transform, TransformOptions } from 'node:stream';
import { createGunzip, createZstdDecompress, type ZlibOptions, type ZstdOptions } from 'node:zlib';
// Not the index: the process that unpacks needs nothing else of the room.
import { MEDIA_TYPE } from '../../registry/oci.ts';
import { ImportError } from './errors.ts';

/** Output is produced in pieces of this size; zlib's default of 16 KiB costs half the speed. */
const OUTPUT_BYTES = 512 * 1024;
/** Output that may wait for its consumer: so much decompression runs ahead of tar, hashing and writing, on another CPU. */
const WAITING_BYTES = 2 * 1024 * 1024;

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
      return createZstdDecompress(options);
  }
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
