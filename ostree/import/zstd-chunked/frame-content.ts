/** Decompresses zstd frames out of a blob, with a bound on what may come out of them. */
import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { zstdDecompressSync } from 'node:zlib';
import { createDecompressor, faultOfData, release, ZSTD_PARAMETERS } from '../compression.ts';
import type { Payload } from './toc.ts';
import { PartialFetchUnusable } from './unusable.ts';

/** Frames up to these sizes are decompressed in one call, which is many times cheaper than a stream for a small file. */
const SMALL_COMPRESSED_BYTES = 256 * 1024;
const SMALL_BYTES = 1024 * 1024;

/** Some frames of a blob: how many bytes they are, and these bytes. */
export interface Frames {
  readonly length: number;
  readonly bytes: AsyncIterable<Buffer>;
}

/**
 * The content of a file, which is held against its digest while it passes.
 * @throws {PartialFetchUnusable} at its end, or before, if it is not what the table of contents says.
 */
export async function* payloadContent(frames: Frames, payload: Payload): AsyncGenerator<Buffer> {
  const hash = createHash('sha256');
  let length = 0;
  for await (const chunk of decompress(frames, payload.size)) {
    length += chunk.length;
    if (length > payload.size) throw mismatch(payload);
    hash.update(chunk);
    yield chunk;
  }
  if (length !== payload.size || hash.digest('hex') !== payload.digest) throw mismatch(payload);
}

/** What stands between the contents of two files: headers and padding. */
export function gapContent(frames: Frames): AsyncGenerator<Buffer> {
  return decompress(frames, SMALL_BYTES);
}

/**
 * What whole frames hold, in pieces that are valid until the next one is asked for.
 * @throws what `otherwise` makes of zlib's error
 */
export function decompressFrames(compressed: Buffer, otherwise: (error: unknown) => Error): AsyncGenerator<Buffer> {
  return decompressStream(Readable.from([compressed]), otherwise);
}

async function* decompress(frames: Frames, expected: number): AsyncGenerator<Buffer> {
  if (frames.length > SMALL_COMPRESSED_BYTES || expected > SMALL_BYTES) {
    yield* decompressStream(frames.bytes, undecodable);
    return;
  }
  const compressed = await collect(frames);
  const content = decompressSmall(compressed, expected);
  if (content === undefined) yield* decompressFrames(compressed, undecodable);
  else if (content.length > 0) yield content;
}

async function collect({ bytes }: Frames): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of bytes) pieces.push(piece);
  const [first] = pieces;
  return pieces.length === 1 && first !== undefined ? first : Buffer.concat(pieces);
}

/** Undefined when more than `limit` bytes come out. */
function decompressSmall(compressed: Buffer, limit: number): Buffer | undefined {
  try {
    return zstdDecompressSync(compressed, { maxOutputLength: limit, params: ZSTD_PARAMETERS });
  } catch (error) {
    if (error instanceof RangeError && 'code' in error && error.code === 'ERR_BUFFER_TOO_LARGE') return undefined;
    throw undecodable(error);
  }
}

async function* decompressStream(
  bytes: AsyncIterable<Buffer>,
  otherwise: (error: unknown) => Error,
): AsyncGenerator<Buffer> {
  const source = Readable.from(bytes);
  const decompressor = createDecompressor('zstd');
  // What goes wrong with the bytes themselves is not a fault of the frames.
  source.once('error', (error) => decompressor.destroy(error));
  try {
    for await (const chunk of source.pipe(decompressor) as AsyncIterable<Buffer>) {
      yield chunk;
      release(chunk);
    }
  } catch (error) {
    throw faultOfData(error) === undefined ? error : otherwise(error);
  } finally {
    source.destroy();
    decompressor.destroy();
  }
}

function undecodable(cause: unknown): PartialFetchUnusable {
  return new PartialFetchUnusable('a part of it cannot be decompressed on its own', { cause });
}

function mismatch({ name }: Payload): PartialFetchUnusable {
  return new PartialFetchUnusable(`the content of ${JSON.stringify(name)} is not what its table of contents says`);
}
