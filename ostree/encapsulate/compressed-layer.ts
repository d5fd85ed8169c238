/**
 * A layer, compressed into a file without a name: a registry wants to know the digest before the first byte. The file
 * vanishes with its descriptor, however the process ends.
 */
import { createHash, randomBytes } from 'node:crypto';
import { rmSync } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { ioError } from '../errors.ts';

export type Compression = 'default' | 'fast';

/** gzip levels of the reference tools; another one would change every digest. */
const GZIP_LEVELS = { default: 6, fast: 1 } as const;
const CHUNK_BYTES = 256 * 1024;

export interface CompressedLayer extends AsyncDisposable {
  /** `sha256:…` of the compressed bytes. */
  readonly digest: string;
  /** `sha256:…` of the uncompressed tar. */
  readonly diffId: string;
  /** Compressed bytes. */
  readonly size: number;
  /** The compressed bytes, as often as wanted. */
  content(): AsyncIterable<Buffer>;
}

/** Compresses `tar` into a file on the file system of `directory`. Dispose of the result. */
export async function compressLayer(
  tar: AsyncIterable<Buffer>,
  compression: Compression,
  directory: string,
  signal?: AbortSignal,
): Promise<CompressedLayer> {
  const handle = await openNameless(directory);
  try {
    const uncompressed = createHash('sha256');
    const compressed = createHash('sha256');
    let size = 0;
    await pipeline(
      Readable.from(gather(tar), { objectMode: true, highWaterMark: 2 }),
      async function* (chunks: AsyncIterable<Buffer>) {
        for await (const chunk of chunks) {
          uncompressed.update(chunk);
          yield chunk;
        }
      },
      createGzip({ level: GZIP_LEVELS[compression], chunkSize: CHUNK_BYTES }),
      async (chunks: AsyncIterable<Buffer>) => {
        for await (const chunk of chunks) {
          compressed.update(chunk);
          size += chunk.length;
          await handle.appendFile(chunk);
        }
      },
      ...(signal === undefined ? [] : [{ signal }]),
    );
    return {
      digest: `sha256:${compressed.digest('hex')}`,
      diffId: `sha256:${uncompressed.digest('hex')}`,
      size,
      content: () => readFrom(handle),
      [Symbol.asyncDispose]: () => handle.close(),
    };
  } catch (error) {
    await handle.close();
    throw error;
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

/** Headers are small and many: without gathering, streams would cost more than compression. */
async function* gather(pieces: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let pending: Buffer[] = [];
  let size = 0;
  for await (const piece of pieces) {
    pending.push(piece);
    size += piece.length;
    if (size < CHUNK_BYTES) continue;
    yield Buffer.concat(pending, size);
    pending = [];
    size = 0;
  }
  if (size > 0) yield Buffer.concat(pending, size);
}

async function* readFrom(handle: FileHandle): AsyncGenerator<Buffer> {
  for (let position = 0; ;) {
    const { buffer, bytesRead } = await handle.read(Buffer.allocUnsafe(CHUNK_BYTES), 0, CHUNK_BYTES, position);
    if (bytesRead === 0) return;
    yield buffer.subarray(0, bytesRead);
    position += bytesRead;
  }
}
