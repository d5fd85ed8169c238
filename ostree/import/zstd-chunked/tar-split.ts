/**
 * The copy of a tar stream's headers that a zstd:chunked layer carries: together with the content of the files it gives
 * the stream again, byte for byte.
 *
 * Source: vbatts/tar-split, format of the JSON packer: one object per line, of type 1 (a file) or 2 (bytes as they are).
 */
import { decompressFrames } from './frame-content.ts';
import { PartialFetchUnusable } from './unusable.ts';

/** Either bytes of the stream, or the place where the content of a file goes. */
export type TarSplitPiece =
  | { readonly kind: 'bytes'; readonly bytes: Buffer }
  /** Without a name when it is not UTF-8. */
  | { readonly kind: 'file'; readonly name?: string; readonly size: number };

const TYPE_FILE = 1;
const TYPE_SEGMENT = 2;
const NEWLINE = 0x0a;
/** Bytes of one line: headers between two files; a megabyte of attributes is more than the kernel takes. */
const MAX_LINE_BYTES = 4 * 1024 * 1024;

/**
 * Reads it, never holding more than a line.
 *
 * @param compressed zstd frames, verified; @param uncompressedLength what they hold, in bytes: more is not read
 * @throws {PartialFetchUnusable} when it is not in the format
 */
export async function* readTarSplit(compressed: Buffer, uncompressedLength: number): AsyncGenerator<TarSplitPiece> {
  let rest: Buffer = Buffer.alloc(0);
  for await (const chunk of decompress(compressed, uncompressedLength)) {
    const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    let start = 0;
    for (let end = bytes.indexOf(NEWLINE); end >= 0; end = bytes.indexOf(NEWLINE, start)) {
      yield parseLine(bytes.subarray(start, end));
      start = end + 1;
    }
    // A copy: the chunk is gone when the next one comes.
    rest = Buffer.from(bytes.subarray(start));
    if (rest.length > MAX_LINE_BYTES) throw malformed();
  }
  if (rest.length > 0) throw malformed();
}

async function* decompress(compressed: Buffer, limit: number): AsyncGenerator<Buffer> {
  let length = 0;
  const undecodable = (error: unknown): Error =>
    new PartialFetchUnusable('its copy of the tar headers cannot be decompressed', { cause: error });
  for await (const chunk of decompressFrames(compressed, undecodable)) {
    length += chunk.length;
    if (length > limit) throw new PartialFetchUnusable('its copy of the tar headers is larger than it says');
    yield chunk;
  }
}

function parseLine(line: Buffer): TarSplitPiece {
  let value: unknown;
  try {
    value = JSON.parse(line.toString());
  } catch (error) {
    throw malformed(error);
  }
  if (typeof value !== 'object' || value === null) throw malformed();
  const { type, payload, name, size } = value as Readonly<Record<string, unknown>>;
  if (type === TYPE_SEGMENT && typeof payload === 'string') {
    return { kind: 'bytes', bytes: Buffer.from(payload, 'base64') };
  }
  const bytes = size ?? 0;
  if (type !== TYPE_FILE || !Number.isSafeInteger(bytes) || Number(bytes) < 0) throw malformed();
  return { kind: 'file', size: Number(bytes), ...(typeof name === 'string' && name !== '' && { name }) };
}

function malformed(cause?: unknown): PartialFetchUnusable {
  return new PartialFetchUnusable('its copy of the tar headers cannot be read', { cause });
}
