/** Bytes at hand as the stream that a destination reads. */
export async function* once(bytes: Buffer): AsyncIterable<Buffer> {
  yield await Promise.resolve(bytes);
}
