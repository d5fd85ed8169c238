/** Memory of what was read from a socket. */

/** What is this long has memory of its own: Node cuts only what is shorter from its slab. Buffer.poolSize, allocUnsafe */
const OWN_MEMORY_LEAST_BYTES = Buffer.poolSize >>> 1;

/**
 * Gives the memory of a chunk that was read from a socket back at once: left to the garbage collector, hundreds of
 * megabytes of them make it run dozens of times per layer. A socket's buffer belongs to nobody else; the last chunk of one
 * is the one with nothing behind it.
 */
export function releaseMemory(chunk: Buffer): void {
  const { buffer, byteOffset, length } = chunk;
  if (byteOffset + length !== buffer.byteLength || length < OWN_MEMORY_LEAST_BYTES) return;
  if (buffer instanceof ArrayBuffer) buffer.transfer(0);
}
