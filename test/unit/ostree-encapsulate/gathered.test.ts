import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { gathered } from '../../../ostree/encapsulate/gathered.ts';
import { collected } from './collected.ts';

async function* streamed(pieces: readonly Buffer[]): AsyncGenerator<Buffer> {
  for (const piece of pieces) yield await Promise.resolve(piece);
}

describe('pieces of a tar stream', () => {
  it('arrive complete and in order, whatever their sizes and whether they are at hand or streamed', async () => {
    const size = fc.oneof(fc.nat(2000), fc.nat(300_000), fc.constantFrom(0, 262_143, 262_144, 262_145));
    let next = 0;
    const bytes = size.map((length) => Buffer.alloc(length, ++next % 251));
    const piece = fc.oneof(bytes, fc.array(bytes, { maxLength: 3 }));
    await fc.assert(
      fc.asyncProperty(fc.array(piece, { maxLength: 20 }), async (pieces) => {
        const stream = gathered(pieces.map((one) => (Buffer.isBuffer(one) ? one : streamed(one))));
        assert.ok((await collected(stream)).equals(Buffer.concat(pieces.flat())));
      }),
      { numRuns: 50 },
    );
  });

  it('are few, where thousands of small ones go in', async () => {
    let count = 0;
    for await (const _ of gathered(Array.from({ length: 10_000 }, () => Buffer.alloc(512)))) count++;
    assert.equal(count, 20);
  });
});
