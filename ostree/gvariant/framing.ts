/**
 * Framing offsets: how a GVariant container finds its variable-sized members. Shared by the general codec and by the
 * hand-written encoders of the objects that are written by the ten thousand.
 */

/** Width in bytes of the framing offsets of a container whose total size, offsets included, is `size`. */
export function offsetWidth(size: number): 1 | 2 | 4 | 8 {
  if (size <= 0xff) return 1;
  if (size <= 0xffff) return 2;
  return size <= 0xffffffff ? 4 : 8;
}

/** The smallest width with which `bodySize` bytes and `count` offsets still fit their own container. */
export function chooseOffsetWidth(bodySize: number, count: number): 1 | 2 | 4 | 8 {
  if (bodySize + count <= 0xff) return 1;
  if (bodySize + 2 * count <= 0xffff) return 2;
  return bodySize + 4 * count <= 0xffffffff ? 4 : 8;
}

/** Writes one little-endian offset. Offsets never exceed Buffer's own limit of less than 2^48. */
export function writeOffset(target: Buffer, position: number, width: 1 | 2 | 4 | 8, value: number): void {
  target.writeUIntLE(value, position, width === 8 ? 6 : width);
}

/** Reads one little-endian offset; values that no buffer can have come back as Infinity, which no bound admits. */
export function readOffset(source: Buffer, position: number, width: 1 | 2 | 4 | 8): number {
  if (width !== 8) return source.readUIntLE(position, width);
  return source.readUInt16LE(position + 6) === 0 ? source.readUIntLE(position, 6) : Number.POSITIVE_INFINITY;
}

/** `body` followed by `ends` as framing offsets, in the order given. */
export function appendOffsets(body: Buffer, ends: readonly number[]): Buffer {
  if (ends.length === 0) return body;
  const width = chooseOffsetWidth(body.length, ends.length);
  const framed = Buffer.alloc(body.length + width * ends.length);
  body.copy(framed);
  let position = body.length;
  for (const end of ends) {
    writeOffset(framed, position, width, end);
    position += width;
  }
  return framed;
}
