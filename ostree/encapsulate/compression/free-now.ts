/** Memory outside the heap is collected when a thread has tens of megabytes of it; each time costs as much as compressing some. */

/** A thread's small buffers may share memory, and do not matter. */
const LEAST_BYTES = 256 * 1024;

/** Gives the memory of `bytes` back at once. Nobody may use it any more. */
export function freeNow({ buffer }: Uint8Array): void {
  if (buffer instanceof ArrayBuffer && buffer.byteLength >= LEAST_BYTES) buffer.transfer(0);
}
