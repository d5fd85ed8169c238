import assert from 'node:assert/strict';
import { setImmediate } from 'node:timers/promises';
import { limitSource } from '../../../ostree/import/limited-source.ts';
import type { LimitClock } from '../../../ostree/import/transfer-limit.ts';
import type { Descriptor, ImageSource } from '../../../registry/index.ts';

type BlobReadOptions = NonNullable<Parameters<ImageSource['openBlob']>[1]>;

const BLOB = { mediaType: 'application/octet-stream', digest: `sha256:${'0'.repeat(64)}`, size: 1_000_000 };

/** Time passes only while somebody waits. */
class FakeClock implements LimitClock {
  #now = 0;

  readonly now = (): number => this.#now;
  readonly sleep = async (milliseconds: number, signal: AbortSignal): Promise<void> => {
    signal.throwIfAborted();
    this.#now += milliseconds;
    await setImmediate();
  };
}

/** Gives each blob in chunks of the sizes, and counts how many are open. */
class FakeSource implements ImageSource {
  readonly #chunks: readonly number[];
  open = 0;
  mostOpen = 0;

  constructor(chunks: readonly number[]) {
    this.#chunks = chunks;
  }

  resolve(): never {
    throw new Error('not asked for here');
  }

  async *openBlob(_blob: Descriptor, { onBytes, known }: BlobReadOptions = {}): AsyncIterable<Buffer> {
    this.mostOpen = Math.max(this.mostOpen, ++this.open);
    try {
      for (const [index, size] of this.#chunks.entries()) {
        await setImmediate();
        if (index > 0 || known === undefined) onBytes?.(size);
        yield Buffer.alloc(size, index);
      }
    } finally {
      this.open--;
    }
  }

  openRange(blob: Descriptor, _offset: number, _length: number, options?: BlobReadOptions): AsyncIterable<Buffer> {
    return this.openBlob(blob, options);
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}

async function read(stream: AsyncIterable<Buffer>): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of stream) pieces.push(piece);
  return Buffer.concat(pieces);
}

describe('a limited image source', () => {
  it('is the source itself when nothing is limited', () => {
    const source = new FakeSource([]);
    assert.equal(limitSource(source), source);
    assert.equal(limitSource(source, {}), source);
  });

  it('shares one rate among blobs and parts of blobs, and changes none of their bytes', async () => {
    const source = new FakeSource([300_000, 10, 200_000]);
    const clock = new FakeClock();
    const limited = limitSource(source, { bytesPerSecond: 500_000 }, clock);
    const contents = await Promise.all([
      read(limited.openBlob(BLOB)),
      read(limited.openBlob(BLOB)),
      read(limited.openRange(BLOB, 0, 500_010)),
    ]);
    const whole = await read(source.openBlob(BLOB));
    for (const content of contents) assert.ok(content.equals(whole));
    const least = ((3 * whole.length - 50_000) / 500_000) * 1000;
    assert.ok(clock.now() >= least - 1e-6, `${clock.now()} ms`);
  });

  it('follows a rate that changes while blobs are read, and one that is taken away', async () => {
    const clock = new FakeClock();
    const source = new FakeSource([100_000, 100_000, 100_000]);
    let bytesPerSecond: number | undefined = 100_000;
    const limited = limitSource(source, { bytesPerSecond: () => bytesPerSecond }, clock);
    const times: number[] = [];
    for await (const _chunk of limited.openBlob(BLOB)) {
      times.push(clock.now());
      bytesPerSecond = times.length === 1 ? 200_000 : undefined;
    }
    const [first = 0, second = 0, third = 0] = times;
    assert.ok(first > 800, `${first} ms at the low rate`);
    assert.ok(second - first > 300 && second - first <= 500, `${second - first} ms at the high one`);
    assert.equal(third, second);
  });

  it('does not count what an earlier pull has kept on the disk, and tells the progress what has come', async () => {
    const clock = new FakeClock();
    const limited = limitSource(new FakeSource([1_000_000, 100_000]), { bytesPerSecond: 100_000 }, clock);
    const kept = { length: 1_000_000, async *read() {} };
    let counted = 0;
    await read(limited.openBlob(BLOB, { known: kept, onBytes: (count) => (counted += count) }));
    assert.equal(counted, 100_000);
    assert.ok(clock.now() > 0 && clock.now() <= 1000, `${clock.now()} ms`);
  });

  it('opens no more at once than it may, and all in the end', async () => {
    const source = new FakeSource([10, 10, 10]);
    const limited = limitSource(source, { concurrentFetches: 2 });
    const streams = Array.from({ length: 7 }, (_, index) =>
      index % 2 === 0 ? limited.openBlob(BLOB) : limited.openRange(BLOB, 0, 30),
    );
    const contents = await Promise.all(streams.map(read));
    assert.deepEqual(
      contents.map(({ length }) => length),
      Array(7).fill(30),
    );
    assert.deepEqual([source.mostOpen, source.open], [2, 0]);
  });

  it('gives the place of a reader that leaves to the next', async () => {
    const source = new FakeSource([10, 10]);
    const limited = limitSource(source, { concurrentFetches: 1 });
    for await (const _chunk of limited.openBlob(BLOB)) break;
    assert.equal((await read(limited.openBlob(BLOB))).length, 20);
  });

  it('stops waiting, for bytes or for its turn, when it is aborted, and says why', async () => {
    const reason = new Error('enough');
    const source = new FakeSource([100_000, 100_000]);
    for (const limits of [{ bytesPerSecond: 1 }, { concurrentFetches: 1 }]) {
      const limited = limitSource(source, limits);
      const abort = new AbortController();
      const others = limited.openBlob(BLOB)[Symbol.asyncIterator]();
      if (limits.concurrentFetches !== undefined) await others.next();
      const reading = read(limited.openBlob(BLOB, { signal: abort.signal }));
      setTimeout(() => abort.abort(reason), 20);
      await assert.rejects(reading, reason);
      await others.return?.();
      assert.equal(source.open, 0);
    }
  });

  it('refuses limits that would stop everything', () => {
    const source = new FakeSource([]);
    for (const limits of [{ bytesPerSecond: 0 }, { concurrentFetches: 0 }, { concurrentFetches: 1.5 }]) {
      assert.throws(() => limitSource(source, limits), RangeError);
    }
  });
});
