/**
 * A piece of a deflate stream, in which what does not compress is in stored blocks. Source: RFC 1951, section 3.2.4;
 * docs/decisions, "What does not compress is stored".
 */
import { freeNow } from './free-now.ts';
import { type DeflatePiece, WINDOW_BYTES } from './pinned-deflate.ts';
import { type Run, storedRuns } from './stored-runs.ts';

/** Of a block's length there are 16 bits. */
const MAX_STORED_BYTES = 0xffff;

export interface DeflateOptions {
  /** Where the piece starts in `bytes`; what is before is what deflate may refer to. */
  readonly start: number;
  /** Of gzip. */
  readonly level: number;
  readonly deflate: DeflatePiece;
}

/** The piece, up to a byte boundary, where the next one follows. */
export function deflateOrStore(bytes: Buffer, { start, level, deflate }: DeflateOptions): Buffer {
  const parts: Buffer[] = [];
  const deflated: Buffer[] = [];
  let at = start;
  const deflateUpTo = (end: number): void => {
    if (end === at) return;
    const dictionary = bytes.subarray(Math.max(0, at - WINDOW_BYTES), at);
    const part = deflate(bytes.subarray(at, end), level, dictionary.length > 0 ? dictionary : undefined);
    deflated.push(part);
    parts.push(part);
  };
  for (const run of storedRuns(bytes, start)) {
    deflateUpTo(run.start);
    parts.push(...storedBlocks(bytes, run));
    at = run.end;
  }
  deflateUpTo(bytes.length);
  const [first] = parts;
  if (parts.length === 1 && first !== undefined) return first;
  const whole = Buffer.concat(parts);
  for (const part of deflated) freeNow(part);
  return whole;
}

function* storedBlocks(bytes: Buffer, { start, end }: Run): Generator<Buffer> {
  for (let at = start; at < end; at += MAX_STORED_BYTES) {
    const content = bytes.subarray(at, Math.min(at + MAX_STORED_BYTES, end));
    // Neither the last block nor a compressed one; the rest of the byte is padding.
    const header = Buffer.alloc(5);
    header.writeUInt16LE(content.length, 1);
    header.writeUInt16LE(MAX_STORED_BYTES - content.length, 3);
    yield header;
    yield content;
  }
}
