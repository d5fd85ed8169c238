/** A thread that compresses pieces. */
import { createHash } from 'node:crypto';
import { parentPort } from 'node:worker_threads';
import { freeNow } from './free-now.ts';
import type { DeflateJob, Frame, PieceJob, PieceReply, PieceResult, ZstdJob } from './piece-job.ts';
import { type DeflatePiece, pinnedDeflate } from './pinned-deflate.ts';
import { requirePinnedZstd, zstdFrame } from './pinned-zstd.ts';

let deflate: DeflatePiece | undefined;
let isZstdPinned = false;

async function perform(job: PieceJob): Promise<PieceResult> {
  return job.format === 'deflate' ? deflateJob(job, (deflate ??= await pinnedDeflate())) : zstdJob(job);
}

function deflateJob({ bytes, dictionary, level }: DeflateJob, deflate: DeflatePiece): PieceResult {
  const output = deflate(asBuffer(bytes), level, dictionary && asBuffer(dictionary));
  return { compressed: handedOver(output), bytes };
}

function zstdJob({ bytes, level, parts }: ZstdJob): PieceResult {
  if (!isZstdPinned) requirePinnedZstd();
  isZstdPinned = true;
  const outputs: Buffer[] = [];
  const frames: Frame[] = [];
  let at = 0;
  for (const length of parts) {
    const part = bytes.subarray(at, at + length);
    at += length;
    const output = zstdFrame(part, level);
    outputs.push(output);
    frames.push({ length: output.length, contentDigest: createHash('sha256').update(part).digest('hex') });
  }
  const compressed = handedOver(Buffer.concat(outputs));
  for (const output of outputs) freeNow(output);
  return { compressed, bytes, frames };
}

/** The same in memory of its own, and no more of it than is needed. */
function handedOver(output: Buffer): Uint8Array<ArrayBuffer> {
  const compressed = new Uint8Array(output);
  freeNow(output);
  return compressed;
}

function asBuffer(bytes: Uint8Array<ArrayBuffer>): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** One after the other: what comes first must not be overtaken while the pinned deflate is found out. */
let previous = Promise.resolve();

parentPort?.on('message', ({ id, job }: { readonly id: number; readonly job: PieceJob }) => {
  const reply = (message: PieceReply, transfer: ArrayBuffer[]): void => parentPort?.postMessage(message, transfer);
  previous = previous
    .then(() => perform(job))
    .then(
      (result) => reply({ id, result }, [result.compressed.buffer, result.bytes.buffer]),
      (error: unknown) => reply({ id, failure: error instanceof Error ? error.message : String(error) }, []),
    );
});
