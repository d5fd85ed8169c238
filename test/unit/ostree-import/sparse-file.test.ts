import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import type { TarErrorCode } from '../../../ostree/import/errors.ts';
import { TarReader } from '../../../ostree/import/tar-reader.ts';
import { Archive, type MemberOptions } from '../../../testbed/tar-archive.ts';

type Segment = readonly [offset: number, length: number];

function read(archive: Archive, chunkSize = 1000): { path: string; size: number; content: Buffer }[] {
  const seen: { path: string; size: number; content: Buffer }[] = [];
  let pieces: Buffer[] = [];
  const reader = new TarReader({
    entry({ path, size }) {
      seen.push({ path, size, content: Buffer.alloc(0) });
      pieces = [];
    },
    data: (bytes) => void pieces.push(Buffer.from(bytes)),
    entryEnd: () => void (seen.at(-1)!.content = Buffer.concat(pieces)),
  });
  const bytes = archive.finish();
  for (let at = 0; at < bytes.length; at += chunkSize) reader.write(bytes.subarray(at, at + chunkSize));
  reader.end();
  return seen;
}

const lines = (...numbers: readonly number[]): Buffer => {
  const text = Buffer.from(numbers.map((number) => `${number}\n`).join(''));
  return Buffer.concat([text, Buffer.alloc((512 - (text.length % 512)) % 512)]);
};

/** A member in PAX format 1.0. */
function inData(segments: readonly Segment[], data: Buffer, realSize: number): [Buffer, MemberOptions] {
  const map = lines(segments.length, ...segments.flat());
  const pax = { 'GNU.sparse.major': '1', 'GNU.sparse.minor': '0', 'GNU.sparse.realsize': String(realSize) };
  return [Buffer.concat([map, data]), { pax: { ...pax, 'GNU.sparse.name': 'real/name' } }];
}

function inRecord(map: string, realSize: number | string): MemberOptions {
  return { pax: { 'GNU.sparse.size': String(realSize), 'GNU.sparse.map': map, 'GNU.sparse.name': 'real/name' } };
}

function expand(segments: readonly Segment[], data: Buffer, realSize: number): Buffer {
  const whole = Buffer.alloc(realSize);
  let at = 0;
  for (const [offset, length] of segments) {
    data.copy(whole, offset, at, at + length);
    at += length;
  }
  return whole;
}

function refuses(archive: Archive, code: TarErrorCode): void {
  assert.throws(() => read(archive), { name: 'TarError', code });
}

describe('a sparse file in a tar archive', () => {
  it('is expanded exactly, in each PAX format and however the archive is cut into pieces', () => {
    const runs = fc.array(fc.record({ gap: fc.nat(3000), length: fc.nat(1500) }), { maxLength: 8 });
    fc.assert(
      fc.property(runs, fc.nat(3000), fc.integer({ min: 1, max: 2000 }), (parts, tail, chunkSize) => {
        let end = 0;
        const segments = parts.map(({ gap, length }): Segment => {
          const offset = end + gap;
          end = offset + length;
          return [offset, length];
        });
        const data = Buffer.from(
          Array.from({ length: segments.reduce((sum, [, n]) => sum + n, 0) }, (_, n) => n % 255),
        );
        const size = end + tail;
        const archive = new Archive()
          .file('GNUSparseFile.1/x', ...inData(segments, data, size))
          .file('GNUSparseFile.1/x', data, inRecord(segments.flat().join(','), size))
          .file('after', 'next');
        const expected = expand(segments, data, size);
        const [first, second, after] = read(archive, chunkSize);
        for (const entry of [first, second]) {
          assert.equal(entry?.path, 'real/name');
          assert.equal(entry.size, size);
          assert.ok(entry.content.equals(expected));
        }
        assert.equal(after?.content.toString(), 'next');
      }),
      { numRuns: 60 },
    );
  });

  it('is refused when its map is no map of the data that it has', () => {
    const data = Buffer.alloc(600, 'x');
    const bad = (...segments: readonly Segment[]): Archive =>
      new Archive().file('x', data, inRecord(segments.flat().join(','), 10_000));
    assert.equal(read(bad([0, 600])).length, 1);
    for (const archive of [
      bad([0, 599]),
      bad([0, 601]),
      bad([0, 400], [300, 200]),
      bad([500, 300], [0, 300]),
      bad([9_500, 600]),
      bad(),
      new Archive().file('x', data, inRecord('0', 10_000)),
      new Archive().file('x', data, inRecord('0,-600', 10_000)),
      new Archive().file('x', data, inRecord(`${2 ** 53},600`, 2 ** 53)),
      new Archive().file('x', data, inRecord('0,600', '99999999999999999999')),
      new Archive().file('x', data, { pax: { 'GNU.sparse.map': '0,600' } }),
      new Archive().file('x', data, { pax: { 'GNU.sparse.size': '700', 'GNU.sparse.offset': '0' } }),
      new Archive().file('x', data, { pax: { 'GNU.sparse.size': '700', 'GNU.sparse.numbytes': '600' } }),
      new Archive().file('x', ...inData([[0, 5]], Buffer.alloc(6), 100)),
      new Archive().file('x', Buffer.alloc(512, '1'), inData([], Buffer.alloc(0), 9)[1]),
      new Archive().file('x', '', inData([], Buffer.alloc(0), 9)[1]),
      new Archive()
        .add('x', { type: 'S', tamper: (header) => void header.write('00000000012\0', 483, 'latin1') })
        .file('y', '', { pax: { 'GNU.sparse.size': '5' } }),
    ]) {
      refuses(archive, 'CorruptHeader');
    }
  });

  it('is refused in formats that nobody wrote, and where it cannot be', () => {
    refuses(new Archive().file('x', '', { pax: { 'GNU.sparse.major': '2', 'GNU.sparse.realsize': '1' } }), 'Sparse');
    refuses(new Archive().file('x', '', { pax: { 'GNU.sparse.colour': 'red' } }), 'Sparse');
    refuses(new Archive().directory('x', inRecord('', 0)), 'Sparse');
  });

  it('is refused before a single zero is made when its holes are larger than any real file', () => {
    const huge = 2 ** 50;
    const started = performance.now();
    refuses(new Archive().file('x', '', inRecord('', huge)), 'TooLarge');
    refuses(new Archive().file('x', ...inData([], Buffer.alloc(0), huge)), 'TooLarge');
    const tamper = (header: Buffer): void => void header.write('7777777777777', 483, 'latin1');
    refuses(new Archive().add('x', { type: 'S', tamper }), 'TooLarge');
    refuses(new Archive().file('x', lines(2 ** 40), inData([], Buffer.alloc(0), 5)[1]), 'TooLarge');
    assert.ok(performance.now() - started < 5000);
  });
});
