/**
 * Deflate whose bytes do not depend on the zlib at hand. They are, by definition, those of pako at the version of the lock
 * file, which is plain JavaScript. The zlib inside Node makes the same ones more than twice as fast as long as Node ships
 * the revision that pako follows; other revisions do not, nor do the zlibs of distributions. So it is asked for known
 * answers first, and used only if it has them.
 *
 * Source: RFC 1951; docs/decisions, "Compressed bytes are pinned".
 */
import { createHash } from 'node:crypto';
import { constants, deflateRawSync } from 'node:zlib';
import { knownBytes } from './known-bytes.ts';

/** One piece of a deflate stream, up to and with a sync flush. `dictionary`: the 32 KiB before it. */
export type DeflatePiece = (piece: Buffer, level: number, dictionary?: Buffer) => Buffer;

/** As far as deflate can look back. */
export const WINDOW_BYTES = 32 * 1024;
const SAMPLE_BYTES = 192 * 1024;
/** Of what pako makes of the sample: SHA-256 by level. */
const ANSWERS: readonly (readonly [level: number, digest: string])[] = [
  [1, 'b98638a192e2f5024256a2470b45135a1284820e5341fddb067e22997561a170'],
  [6, 'c6b2992529344a843dded87efe723f97ce26d1013d612fa74494d09ad3fb51fc'],
];

/** The fastest way to the pinned bytes. */
export async function pinnedDeflate(): Promise<DeflatePiece> {
  return hasKnownAnswers(deflateByZlib) ? deflateByZlib : await portableDeflate();
}

/** The same bytes on anything that runs JavaScript. */
export async function portableDeflate(): Promise<DeflatePiece> {
  const { Deflate, Z_SYNC_FLUSH } = await import('pako');
  return (piece, level, dictionary) => {
    const chunks: Uint8Array[] = [];
    // Large enough for whatever a piece becomes, so that it comes out in one chunk.
    const chunkSize = piece.length + 1024 + (piece.length >> 8);
    const deflate = new Deflate({ raw: true, level, chunkSize, ...(dictionary !== undefined && { dictionary }) });
    deflate.onData = (chunk) => chunks.push(chunk);
    deflate.push(piece, Z_SYNC_FLUSH);
    if (deflate.err !== 0) throw new Error(`deflate failed: ${deflate.msg}`);
    return Buffer.concat(chunks);
  };
}

/** Whether `deflate` makes the pinned bytes of a sample. */
export function hasKnownAnswers(deflate: DeflatePiece): boolean {
  const sample = knownBytes(SAMPLE_BYTES);
  const [dictionary, piece] = [sample.subarray(0, WINDOW_BYTES), sample.subarray(WINDOW_BYTES)];
  return ANSWERS.every(([level, digest]) => {
    const hash = createHash('sha256')
      .update(deflate(piece, level, dictionary))
      .update(deflate(sample, level));
    return hash.digest('hex') === digest;
  });
}

function deflateByZlib(piece: Buffer, level: number, dictionary?: Buffer): Buffer {
  return deflateRawSync(piece, {
    level,
    chunkSize: piece.length + 1024 + (piece.length >> 8),
    finishFlush: constants.Z_SYNC_FLUSH,
    ...(dictionary !== undefined && { dictionary }),
  });
}
