/**
 * A blob as the tar stream that it holds: decompressed, and where nothing else vouches for it held against its diff-id.
 * The thread that has the network directs this, others of the machine do it: so decompression never waits for an import
 * thread that is busy writing files, nor that thread for it.
 */
import { createHash } from 'node:crypto';
import type { Transform } from 'node:stream';
import { createDecompressor, faultOfData, release, type Compression } from './compression.ts';
import { ImportError } from './errors.ts';
import { ExpandsTooFar } from './expansion-limit.ts';
import { createIsalInflater, type IsalInflater } from './isal.ts';

/** Of what `readLayerTar` gives at a time. */
const CHUNK_BYTES = 256 * 1024;

export interface LayerBlob {
  /** Of the blob, for messages. */
  readonly digest: string;
  /** Digest that the tar stream must have, if it has to be checked. */
  readonly diffId?: string;
  readonly compression: Compression;
  /** Bytes that the tar stream may have, if it is bounded here; what is beyond is read all the same, for the blob's digest. */
  readonly maxTarBytes?: number;
  /** The bytes; must end only after its digest was verified, and must throw otherwise. */
  readonly bytes: AsyncIterable<Buffer>;
}

/**
 * Reads a stream that was made of a layer: fills `target`, only the last time less of it, and returns how many bytes; 0 at the end. `target`
 * must lie in memory that does not move.
 *
 * @throws {ImportError} `InvalidLayer` if the blob cannot be decompressed or is not what the diff-id says; whatever the
 *   blob's bytes throw
 */
export type ReadLayer = (target: Buffer) => Promise<number>;

/** What makes a stream of a layer's blob that an import thread can read. */
export interface LayerOpener {
  /** Whether that is the tar stream itself, or the entries that somebody else has read from it. */
  readonly format: 'tar' | 'entries';
  /** Layers that are worth opening beyond one for each import thread: while one waits for the network, another is read. */
  readonly spareLayers: number;
  /** See `openLayerTar`. */
  readonly open: (blob: LayerBlob, abandoned: () => boolean) => ReadLayer;
}

/** Unpacks in this process. */
export const IN_PROCESS: LayerOpener = {
  format: 'tar',
  spareLayers: 2,
  open: (blob, abandoned) => openLayerTar(blob, abandoned),
};

/**
 * Opens the tar stream. The blob is read to its end in any case: if it is corrupt, that is the news, whatever its content
 * led to. Once `abandoned` returns true, the rest is read but no longer decompressed, and the stream ends.
 *
 * @param createInflater gives what decompresses gzip; zlib does where it gives nothing
 */
export function openLayerTar(
  layer: LayerBlob,
  abandoned: () => boolean,
  createInflater: () => IsalInflater | undefined = createIsalInflater,
): ReadLayer {
  const bound = { exceeded: false };
  const stopped = (): boolean => bound.exceeded || abandoned();
  const inflater = layer.compression === 'gzip' ? createInflater() : undefined;
  const read =
    inflater === undefined
      ? filling(decompressed(layer, stopped))
      : gunzipping(inflater, layer, layer.bytes[Symbol.asyncIterator](), stopped);
  const bounded = layer.maxTarBytes === undefined ? read : bounding(read, layer.digest, layer.maxTarBytes, bound);
  return layer.diffId === undefined ? bounded : verifying(bounded, layer.digest, layer.diffId, stopped);
}

/** Ends a stream that goes on for longer than it may: a few kilobytes can be made to expand for days. */
function bounding(read: ReadLayer, digest: string, limit: number, bound: { exceeded: boolean }): ReadLayer {
  let total = 0;
  return async (target) => {
    const count = await read(target);
    total += count;
    if (total <= limit) return count;
    bound.exceeded = true;
    // The rest of the blob, which may say that it is not the blob that was asked for.
    while ((await read(target)) > 0);
    throw new ExpandsTooFar(digest, limit);
  };
}

/** The tar stream as chunks, each valid until the next is asked for; `openLayerTar` says what it throws. */
export function readLayerTar(layer: LayerBlob): AsyncGenerator<Buffer> {
  return chunksOf(openLayerTar(layer, () => false));
}

/** A stream as chunks, each valid until the next is asked for. */
export async function* chunksOf(read: ReadLayer): AsyncGenerator<Buffer> {
  const memory = Buffer.allocUnsafeSlow(CHUNK_BYTES);
  for (let count = await read(memory); count > 0; count = await read(memory)) yield memory.subarray(0, count);
}

function verifying(read: ReadLayer, digest: string, expected: string, abandoned: () => boolean): ReadLayer {
  const hash = createHash('sha256');
  return async (target) => {
    const count = await read(target);
    if (count > 0) {
      hash.update(target.subarray(0, count));
    } else if (!abandoned()) {
      const diffId = `sha256:${hash.digest('hex')}`;
      // Layers are found again by diff-id, in other compressions and other images: it has to be true.
      if (diffId !== expected) {
        throw new ImportError('InvalidLayer', `layer ${digest} has diff-id ${diffId}, its image says ${expected}`);
      }
    }
    return count;
  };
}

/** gzip through ISA-L, straight into the target. */
function gunzipping(
  inflater: IsalInflater,
  { digest }: LayerBlob,
  blob: AsyncIterator<Buffer>,
  abandoned: () => boolean,
): ReadLayer {
  let chunk: Buffer | undefined;
  let used = 0;
  /** Gives it as much of the blob as it has room for. */
  const give = async (): Promise<void> => {
    while (inflater.room > 0) {
      if (chunk === undefined) {
        const { done, value } = await blob.next();
        if (done === true) return;
        chunk = value;
        used = 0;
      }
      used += inflater.give(chunk, used);
      // Not to be touched once the next has been asked for.
      if (used === chunk.length) chunk = undefined;
    }
  };
  let giving: Promise<void> | undefined;
  /** The blob is read and its digest computed while what came before is inflated. */
  const readAhead = (): void => {
    if (giving !== undefined) return;
    giving = give();
    // It is awaited before more is needed; until then its failure must only not count as unhandled.
    giving.catch(() => undefined);
  };
  /** Returns false at the end of the blob. */
  const takeNext = async (): Promise<boolean> => {
    readAhead();
    await giving;
    giving = undefined;
    return inflater.takeNext();
  };
  const drain = async (): Promise<void> => {
    await giving;
    while ((await blob.next()).done !== true);
  };
  let ended = false;
  return async (target) => {
    if (ended) return 0;
    inflater.aim(target);
    for (;;) {
      if (abandoned()) {
        ended = true;
        await drain();
        return 0;
      }
      if (inflater.isFinished) {
        // Another member may follow, or zeros as padding; anything else is refused as no member.
        const more = inflater.unread > 0 || (await takeNext());
        if (!more || inflater.nextByte === 0) {
          ended = true;
          await drain();
          return inflater.written;
        }
        inflater.beginMember();
      }
      readAhead();
      if (!(await inflater.inflate())) {
        await drain();
        throw new ImportError('InvalidLayer', `layer ${digest} cannot be read: it is not valid gzip data`);
      }
      if (inflater.written === target.length) return inflater.written;
      if (!inflater.isFinished && !(await takeNext())) {
        throw new ImportError('InvalidLayer', `layer ${digest} cannot be read: unexpected end of the gzip data`);
      }
    }
  };
}

/** A stream of chunks, each valid until the next is asked for, copied into targets. */
function filling(chunks: AsyncIterable<Buffer>): ReadLayer {
  const iterator = chunks[Symbol.asyncIterator]();
  let chunk: Buffer | undefined;
  let used = 0;
  return async (target) => {
    let filled = 0;
    while (filled < target.length) {
      if (chunk === undefined || used === chunk.length) {
        const { done, value } = await iterator.next();
        if (done === true) {
          chunk = undefined;
          return filled;
        }
        chunk = value;
        used = 0;
      }
      const count = chunk.copy(target, filled, used);
      filled += count;
      used += count;
    }
    return filled;
  };
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
    const fault = faultOfData(error);
    if (fault === undefined) throw error;
    throw new ImportError('InvalidLayer', `layer ${layer.digest} cannot be read: ${fault}`, { cause: error });
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
