/**
 * A layer, compressed into a file without a name: a registry wants to know the digest before the first byte. The file
 * vanishes with its descriptor, however the process ends.
 */
import { createHash, randomBytes } from 'node:crypto';
import { rmSync } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { MEDIA_TYPE } from '../../../registry/index.ts';
import { ioError } from '../../errors.ts';
import type { CompressionPool } from './compression-pool.ts';
import { gzip } from './parallel-gzip.ts';
import { zstd } from './parallel-zstd.ts';
import { COMPRESSION_ANNOTATION, compressionRecord } from './recipe.ts';
import { ZstdChunkedEncoder } from './zstd-chunked/encoder.ts';

/** `default` and `fast` are gzip. */
export type Compression = 'default' | 'fast' | 'zstd' | 'zstd:chunked';

/** gzip levels of the reference tools; another one would change every digest. */
const GZIP_LEVELS = { default: 6, fast: 1 } as const;
/** Say where in the compressed bytes things lie, and what made them. */
const FORMAT_ANNOTATION = /^(?:io\.(?:github\.)?containers\.zstd-chunked\.|dev\.treeline\.compression$)/;
/** As large as a disk may be, and not in memory, unlike `/tmp` on many hosts. file-hierarchy(7). */
const TEMPORARY_DIRECTORY = '/var/tmp';
/** Bytes per piece when the file is read back. */
const CHUNK_BYTES = 256 * 1024;

export interface CompressedLayer extends AsyncDisposable {
  /** `sha256:…` of the compressed bytes. */
  readonly digest: string;
  /** `sha256:…` of the uncompressed tar. */
  readonly diffId: string;
  /** Compressed bytes. */
  readonly size: number;
  /** Of layers of the format. */
  readonly mediaType: string;
  /** That its descriptor must have. */
  readonly annotations: Readonly<Record<string, string>>;
  /** The compressed bytes, as often as wanted. */
  content(): AsyncIterable<Buffer>;
}

export interface LayerCompression {
  readonly compression: Compression;
  readonly pool: CompressionPool;
  /** Where the file goes, as long as it lasts. Default: `/var/tmp`. */
  readonly directory?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Compresses `tar` into a file without a name. Dispose of the result. */
export async function compressLayer(tar: AsyncIterable<Buffer>, options: LayerCompression): Promise<CompressedLayer> {
  const { compression, pool, directory = TEMPORARY_DIRECTORY, signal } = options;
  const handle = await openNameless(directory);
  try {
    const uncompressed = createHash('sha256');
    const compressed = createHash('sha256');
    let size = 0;
    const counted = async function* (): AsyncGenerator<Buffer> {
      for await (const piece of tar) {
        signal?.throwIfAborted();
        uncompressed.update(piece);
        yield piece;
      }
    };
    const encoding = encode(counted(), compression, pool);
    for await (const chunk of encoding.bytes) {
      compressed.update(chunk);
      size += chunk.length;
      await handle.appendFile(chunk);
    }
    const digest = `sha256:${compressed.digest('hex')}`;
    return {
      digest,
      diffId: `sha256:${uncompressed.digest('hex')}`,
      size,
      mediaType: encoding.mediaType,
      annotations: { ...encoding.annotations(), [COMPRESSION_ANNOTATION]: compressionRecord(compression, digest) },
      content: () => readFrom(handle),
      [Symbol.asyncDispose]: () => handle.close(),
    };
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/** `sha256:…` of `tar`: the diff-id of the layer that it would become. */
export async function diffIdOf(tar: AsyncIterable<Buffer>, signal: AbortSignal | undefined): Promise<string> {
  const hash = createHash('sha256');
  for await (const piece of tar) {
    signal?.throwIfAborted();
    hash.update(piece);
  }
  return `sha256:${hash.digest('hex')}`;
}

/** What `annotations` say of a layer's content, whatever it is compressed as. */
export function withoutFormat(annotations: Readonly<Record<string, string>> = {}): Readonly<Record<string, string>> {
  return Object.fromEntries(Object.entries(annotations).filter(([key]) => !FORMAT_ANNOTATION.test(key)));
}

/** What `annotations` say of the bytes that a layer is compressed as. */
export function formatAnnotations(
  annotations: Readonly<Record<string, string>> = {},
): Readonly<Record<string, string>> {
  return Object.fromEntries(Object.entries(annotations).filter(([key]) => FORMAT_ANNOTATION.test(key)));
}

interface Encoding {
  readonly bytes: AsyncIterable<Buffer>;
  readonly mediaType: string;
  /** Of the format, once all has been written. */
  readonly annotations: () => Readonly<Record<string, string>>;
}

function encode(tar: AsyncIterable<Buffer>, compression: Compression, pool: CompressionPool): Encoding {
  switch (compression) {
    case 'zstd':
      return { bytes: zstd(tar, pool), mediaType: MEDIA_TYPE.layerZstd, annotations: () => ({}) };
    case 'zstd:chunked': {
      const encoder = new ZstdChunkedEncoder(pool);
      const annotations = (): Readonly<Record<string, string>> => encoder.annotations;
      return { bytes: encoder.encode(tar), mediaType: MEDIA_TYPE.layerZstd, annotations };
    }
    case 'default':
    case 'fast':
      return {
        bytes: gzip(tar, GZIP_LEVELS[compression], pool),
        mediaType: MEDIA_TYPE.layerGzip,
        annotations: () => ({}),
      };
  }
}

async function openNameless(directory: string): Promise<FileHandle> {
  const path = join(directory, `treeline-layer-${randomBytes(8).toString('hex')}`);
  try {
    const handle = await open(path, 'wx+', 0o600);
    rmSync(path);
    return handle;
  } catch (error) {
    throw ioError(`create a temporary file in ${directory}`, error);
  }
}

async function* readFrom(handle: FileHandle): AsyncGenerator<Buffer> {
  for (let position = 0; ;) {
    const { buffer, bytesRead } = await handle.read(Buffer.allocUnsafe(CHUNK_BYTES), 0, CHUNK_BYTES, position);
    if (bytesRead === 0) return;
    yield buffer.subarray(0, bytesRead);
    position += bytesRead;
  }
}
