/** A thread that compresses pieces. */
import { hash } from 'node:crypto';
import { parentPort } from 'node:worker_threads';
import { deflateOrStore } from './deflate-or-store.ts';
import { freeNow } from './free-now.ts';
import type { DeflateJob, Frame, FrameContent, PieceJob, PieceReply, PieceResult, ZstdJob } from './piece-job.ts';
import { type DeflatePiece, pinnedDeflate } from './pinned-deflate.ts';
import { requirePinnedZstd, zstdFrame } from './pinned-zstd.ts';
import { Crc64 } from './zstd-chunked/crc64.ts';

let deflate: DeflatePiece | undefined;
let isZstdPinned = false;

async function perform(job: PieceJob): Promise<PieceResult> {
  return job.format === 'deflate' ? deflateJob(job, (deflate ??= await pinnedDeflate())) : zstdJob(job);
}

function deflateJob({ bytes, start, level }: DeflateJob, deflate: DeflatePiece): PieceResult {
  const output = deflateOrStore(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength), {
    start,
    level,
    deflate,
  });
  return { compressed: handedOver(output) };
}

function zstdJob({ bytes, level, parts, areDescribed }: ZstdJob): PieceResult {
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
    frames.push({ length: output.length, ...(areDescribed && { content: describe(part) }) });
  }
  const compressed = handedOver(Buffer.concat(outputs));
  for (const output of outputs) freeNow(output);
  return { compressed, frames };
}

function describe(bytes: Uint8Array): FrameContent {
  const crc = new Crc64();
  crc.update(bytes);
  return { digest: hash('sha256', bytes), crc: crc.digest().toString('base64') };
}

/** The same in memory of its own, and no more of it than is needed. */
function handedOver(output: Buffer): Uint8Array<ArrayBuffer> {
  const compressed = new Uint8Array(output);
  freeNow(output);
  return compressed;
}

/** One after the other: what comes first must not be overtaken while the pinned deflate is found out. */
let previous = Promise.resolve();

parentPort?.on('message', ({ id, job }: { readonly id: number; readonly job: PieceJob }) => {
  const reply = (message: PieceReply, transfer: ArrayBuffer[]): void => parentPort?.postMessage(message, transfer);
  previous = previous
    .then(() => perform(job))
    .then(
      (result) => reply({ id, result, memory: job.bytes.buffer }, [result.compressed.buffer, job.bytes.buffer]),
      (error: unknown) => reply({ id, failure: error instanceof Error ? error.message : String(error) }, []),
    );
});
