/** A thread that compresses pieces. */
import { parentPort } from 'node:worker_threads';
import type { PieceJob, PieceReply } from './piece-job.ts';
import { pinnedDeflate } from './pinned-deflate.ts';

const deflate = await pinnedDeflate();

parentPort?.on('message', ({ id, job }: { readonly id: number; readonly job: PieceJob }) => {
  const reply = (message: PieceReply, transfer: ArrayBuffer[]): void => parentPort?.postMessage(message, transfer);
  try {
    const { bytes, dictionary, level } = job;
    const output = deflate(asBuffer(bytes), level, dictionary && asBuffer(dictionary));
    // Memory of its own, and no more of it than is needed: it is handed over.
    const compressed = new Uint8Array(output);
    reply({ id, result: { compressed, bytes } }, [compressed.buffer, bytes.buffer]);
  } catch (error) {
    reply({ id, failure: error instanceof Error ? error.message : String(error) }, []);
  }
});

function asBuffer(bytes: Uint8Array<ArrayBuffer>): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
