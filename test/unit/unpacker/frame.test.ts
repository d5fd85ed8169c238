import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { encodeFrame, FRAME, FrameSource } from '../../../ostree/import/unpacker/frame.ts';

async function* inPieces(stream: Buffer, size: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < stream.length; at += size) yield await Promise.resolve(stream.subarray(at, at + size));
}

/** What comes of the next layer, read into a target of `room` bytes. */
async function layerOf(source: FrameSource, room: number): Promise<Buffer> {
  const pieces: Buffer[] = [];
  const target = Buffer.alloc(room);
  for (let count = await source.fill(target); count > 0; count = await source.fill(target)) {
    assert.ok(count <= room);
    pieces.push(Buffer.from(target.subarray(0, count)));
  }
  assert.ok(
    pieces.slice(0, -1).every(({ length }) => length === room),
    'only the last is not full',
  );
  return Buffer.concat(pieces);
}

const payload = fc.uint8Array({ minLength: 1, maxLength: 300 });
const size = fc.integer({ min: 1, max: 600 });

describe('frames of an unpacker', () => {
  it('hold one layer after the other, whatever the pieces that they arrive in', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.array(payload, { maxLength: 4 }), { maxLength: 4 }),
        size,
        size,
        async (layers, piece, room) => {
          const stream = layers.flatMap((frames) => [
            ...frames.map((bytes) => encodeFrame(FRAME.data, bytes)),
            encodeFrame(FRAME.end),
          ]);
          const source = new FrameSource(inPieces(Buffer.concat(stream), piece));
          for (const frames of layers) assert.deepEqual(await layerOf(source, room), Buffer.concat(frames));
          assert.equal(source.hasUnread, false);
        },
      ),
    );
  });

  it('that are anything else end in one of two errors, and never in waiting or in memory that nobody has sent', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 400 }), size, size, async (bytes, piece, room) => {
        const source = new FrameSource(inPieces(Buffer.from(bytes), piece));
        // Each layer that ends has taken five bytes at least.
        for (let layers = 0; layers <= bytes.length / 5; layers++) {
          try {
            await layerOf(source, room);
          } catch (error) {
            assert.ok(error instanceof Error);
            const isNamed = 'code' in error && error.code === 'UnpackerFailed';
            assert.ok(isNamed || error.name === 'UnpackingFailed', String(error));
            return;
          }
        }
        assert.fail('garbage has an end');
      }),
      { numRuns: 500 },
    );
  });

  it('tell of bytes that nobody has asked for', async () => {
    const source = new FrameSource(inPieces(Buffer.concat([encodeFrame(FRAME.end), Buffer.of(FRAME.data)]), 100));
    assert.equal((await layerOf(source, 10)).length, 0);
    assert.equal(source.hasUnread, true);
  });
});
