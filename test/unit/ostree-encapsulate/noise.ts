import { createCipheriv } from 'node:crypto';

/** Bytes that do not compress, the same in every run. Another `seed` gives others. */
export function noise(size: number, seed: number): Buffer {
  const key = Buffer.alloc(16);
  key.writeUInt32LE(seed);
  return createCipheriv('aes-128-ctr', key, Buffer.alloc(16)).update(Buffer.alloc(size));
}
