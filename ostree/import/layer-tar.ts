/**
 * A blob as the tar stream that it holds: decompressed, and held against its diff-id. This happens in the thread that
 * has the network: it is idle otherwise, so decompression (in libuv's pool) never waits for an import thread that is
 * busy writing files, nor that thread for it.
 */
import { createHash } from 'node:crypto';
import type { Transform } from 'node:stream';
import { createDecompressor, release, type Compression } from './decompress.ts';
import { ImportError } from './errors.ts';

export interface LayerBlob {
  /** Of the blob, for messages. */
  readonly digest: string;
  /** Digest that the tar stream must have, if it has to be checked. */
  readonly diffId?: string;
  readonly compression: Compression;
  /** The bytes; must end only after its digest was verified, and must throw otherwise. */
  readonly bytes: AsyncIterable<Buffer>;
}

/**
 * Yields the tar stream in chunks that are valid until the next one is asked for. The blob is read to its end in any
 * case: if it is corrupt, that is the news, whatever its content led to. Once `abandoned` returns true, the rest is read
 * but no longer decompressed, and the stream ends.
 *
 * @throws {ImportError} `InvalidLayer` if it cannot be decompressed or is not what the diff-id says.
 */
export async function* readLayerTar(layer: LayerBlob, abandoned: () => boolean): AsyncGenerator<Buffer> {
  if (layer.diffId === undefined) {
    yield* decompressed(layer, abandoned);
    return;
  }
  const hash = createHash('sha256');
  for await (const chunk of decompressed(layer, abandoned)) {
    hash.update(chunk);
    yield chunk;
  }
  if (abandoned()) return;
  const diffId = `sha256:${hash.digest('hex')}`;
  // Layers are found again by diff-id, in other compressions and other images: it has to be true.
  if (diffId !== layer.diffId) {
    throw new ImportError(
      'InvalidLayer',
      `layer ${layer.digest} has diff-id ${diffId}, its image says ${layer.diffId}`,
    );
  }
}

async function* decompressed(layer: LayerBlob, abandoned: () => boolean): AsyncGenerator<Buffer> {
  const decompressor = createDecompressor(layer.compression);
  if (decompressor === undefined) {
    for await (const chunk of layer.bytes) if (!abandoned()) yield chunk;
    return;
  }
  const feeding = feed(layer.bytes, decompressor, abandoned);
  // Both are reported by the loop below; here they must only not count as unhandled.
  feeding.catch(() => undefined);
  decompressor.on('error', () => undefined);
  try {
    for await (const chunk of decompressor as AsyncIterable<Buffer>) {
      yield chunk;
      release(chunk);
    }
    await feeding;
  } catch (error) {
    await feeding;
    if (abandoned()) return;
    if (!isDecompressionError(error)) throw error;
    const message = `layer ${layer.digest} cannot be read: ${error.message}`;
    throw new ImportError('InvalidLayer', message, { cause: error });
  } finally {
    decompressor.destroy();
  }
}

/** Writes the blob piece by piece, asking for the next one only when the last has been taken in whole. */
async function feed(bytes: AsyncIterable<Buffer>, decompressor: Transform, abandoned: () => boolean): Promise<void> {
  // A stream that fails or is destroyed never calls back the write that it was busy with.
  const closed = new Promise<void>((resolve) => decompressor.once('close', resolve));
  try {
    for await (const chunk of bytes) {
      if (decompressor.destroyed || abandoned()) continue;
      const taken = new Promise<void>((resolve) => {
        // What is wrong with the data is an error of the stream, which its reader sees.
        decompressor.write(chunk, () => resolve());
      });
      await Promise.race([taken, closed]);
    }
  } catch (error) {
    decompressor.destroy(error instanceof Error ? error : new Error(String(error)));
    throw error;
  }
  if (abandoned()) decompressor.destroy();
  else decompressor.end();
}

function isDecompressionError(error: unknown): error is Error {
  return error instanceof Error && 'code' in error && /^(Z_|ZSTD_)/.test(String(error.code));
}
