/** Bytes at hand as the stream that a destination reads. */

// oxlint-disable-next-line require-await -- an async generator is the shortest AsyncIterable there is
export async function* once(bytes: Buffer): AsyncGenerator<Buffer> {
  yield bytes;
}
