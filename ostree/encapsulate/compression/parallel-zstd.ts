/**
 * zstd on all cores, with the same bytes on any number of them: the input is cut at fixed places, and each piece is a
 * frame of its own; frames one after the other are an ordinary zstd stream (RFC 8878, section 3).
 */
import type { CompressionPool } from './compression-pool.ts';
import { FrameQueue, MAX_PART_BYTES } from './frame-queue.ts';

export async function* zstd(input: AsyncIterable<Buffer>, pool: CompressionPool): AsyncGenerator<Buffer> {
  const queue = new FrameQueue(pool, false);
  let left = 0;
  try {
    for await (const chunk of input) {
      for (let at = 0; at < chunk.length;) {
        if (left === 0) {
          yield* queue.begin(MAX_PART_BYTES);
          left = MAX_PART_BYTES;
        }
        const bytes = chunk.subarray(at, at + left);
        queue.write(bytes);
        at += bytes.length;
        left -= bytes.length;
        if (left === 0) queue.end();
      }
    }
    if (left > 0) queue.end();
    yield* queue.finish();
  } finally {
    await queue.abandon();
  }
}
