import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { BLOCK_SIZE, decodeHeader } from '../../../ostree/import/tar-header.ts';
import { Archive } from '../../../testbed/tar-archive.ts';

/** A header whose name has bytes above 127, with `value` as its checksum. */
function headerWith(value: (unsigned: number, signed: number) => number): Buffer {
  const header = new Archive().file('grüße/€', '').finish().subarray(0, BLOCK_SIZE);
  const summed = Buffer.from(header).fill(0x20, 148, 156);
  const unsigned = summed.reduce((sum, byte) => sum + byte, 0);
  const signed = new Int8Array(summed).reduce((sum, byte) => sum + byte, 0);
  header.write(`${value(unsigned, signed).toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return header;
}

describe('the checksum of a tar header', () => {
  it('may be of unsigned bytes, or of signed ones as historic archivers wrote it', () => {
    assert.equal(
      decodeHeader(
        headerWith((unsigned) => unsigned),
        0,
      ).path,
      'grüße/€',
    );
    assert.equal(
      decodeHeader(
        headerWith((_, signed) => signed),
        0,
      ).path,
      'grüße/€',
    );
  });

  it('is refused when it is neither', () => {
    assert.throws(
      () =>
        decodeHeader(
          headerWith((unsigned) => unsigned + 1),
          0,
        ),
      { code: 'CorruptHeader' },
    );
    assert.throws(
      () =>
        decodeHeader(
          headerWith((_, signed) => signed - 1),
          0,
        ),
      { code: 'CorruptHeader' },
    );
  });

  it('tells of any single byte that changed', () => {
    const good = headerWith((unsigned) => unsigned);
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 147 }), fc.integer({ min: 1, max: 127 }), (at, by) => {
        const bad = Buffer.from(good);
        bad[at] = ((bad[at] ?? 0) + by) & 0xff;
        assert.throws(() => decodeHeader(bad, 0), { code: 'CorruptHeader' });
      }),
    );
  });
});
