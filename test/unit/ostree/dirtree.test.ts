import assert from 'node:assert/strict';
import { array, assert as assertProperty, nat, property, string, tuple, uint8Array, uniqueArray } from 'fast-check';
import { encodeVariant } from '../../../ostree/gvariant/encode.ts';
import { decodeDirtree, type Dirtree, encodeDirtree } from '../../../ostree/objects/dirtree.ts';
import { compareNames } from '../../../ostree/objects/name-order.ts';

const NAMES = uniqueArray(
  string({ minLength: 1, maxLength: 300, unit: 'grapheme' }).filter((name) => !/[/\0]|^\.\.?$/.test(name)),
  { maxLength: 60 },
);
const CHECKSUMS = array(uint8Array({ minLength: 32, maxLength: 32 }), { minLength: 120, maxLength: 120 });

/** The directory in which every other name is a file. */
function directoryOf(names: readonly string[], checksums: readonly Uint8Array[]): Dirtree {
  const sorted = names.toSorted(compareNames);
  const checksum = (index: number): string => Buffer.from(checksums[index] ?? []).toString('hex');
  return {
    files: sorted.flatMap((name, index) => (index % 2 === 0 ? [{ name, checksum: checksum(index) }] : [])),
    directories: sorted.flatMap((name, index) =>
      index % 2 === 1 ? [{ name, dirtree: checksum(index), dirmeta: checksum(index + 60) }] : [],
    ),
  };
}

describe('a directory object', () => {
  it('is, byte for byte, what the general serialiser makes of it, and is read back', () => {
    assertProperty(
      property(NAMES, CHECKSUMS, (names, checksums) => {
        const dirtree = directoryOf(names, checksums);
        const bytes = (hex: string): Buffer => Buffer.from(hex, 'hex');
        const expected = encodeVariant('(a(say)a(sayay))', [
          dirtree.files.map(({ name, checksum }) => [name, bytes(checksum)]),
          dirtree.directories.map(({ name, dirtree: tree, dirmeta }) => [name, bytes(tree), bytes(dirmeta)]),
        ]);
        const encoded = encodeDirtree(dirtree);
        assert.ok(encoded.equals(expected));
        assert.deepEqual(decodeDirtree(encoded), dirtree);
      }),
    );
  });

  it('of many files uses wide offsets as the general serialiser does', () => {
    const names = Array.from({ length: 4000 }, (_, index) => `file-${String(index).padStart(20, '0')}`);
    const checksums = names.map((_, index) => Buffer.alloc(32, index));
    const files = names.map((name, index) => ({ name, checksum: checksums[index]?.toString('hex') ?? '' }));
    const expected = encodeVariant('(a(say)a(sayay))', [names.map((name, index) => [name, checksums[index]!]), []]);
    assert.ok(encodeDirtree({ files, directories: [] }).equals(expected));
    assert.equal(decodeDirtree(expected).files.length, 4000);
  });

  it('is refused whenever a byte of it is changed into something that could not have been written', () => {
    const bytes = encodeDirtree({
      files: [{ name: 'a', checksum: '11'.repeat(32) }],
      directories: [{ name: 'd', dirtree: '22'.repeat(32), dirmeta: '33'.repeat(32) }],
    });
    for (let at = 0; at < bytes.length; at++) {
      for (const value of [0, 1, 0x2f, 0x80, 0xff]) {
        const changed = Buffer.from(bytes);
        changed[at] = value;
        let decoded: Dirtree;
        try {
          decoded = decodeDirtree(changed);
        } catch (error) {
          assert.equal((error as { code?: string }).code, 'InvalidData');
          continue;
        }
        assert.ok(encodeDirtree(decoded).equals(changed), `byte ${at} as ${value}`);
      }
    }
  });

  it('is refused, whatever is changed in it, unless it is what is written for what it then says', () => {
    const changes = array(tuple(nat(), nat({ max: 255 })), { minLength: 1, maxLength: 3 });
    assertProperty(
      property(NAMES, CHECKSUMS, changes, nat({ max: 3 }), (names, checksums, changed, cut) => {
        const encoded = encodeDirtree(directoryOf(names, checksums));
        const bytes = Buffer.from(encoded.subarray(0, encoded.length - Math.min(cut, encoded.length)));
        for (const [at, value] of changed) if (bytes.length > 0) bytes[at % bytes.length] = value;
        let decoded: Dirtree;
        try {
          decoded = decodeDirtree(bytes);
        } catch (error) {
          assert.equal((error as { code?: string }).code, 'InvalidData');
          return;
        }
        assert.ok(encodeDirtree(decoded).equals(bytes));
      }),
      { numRuns: 1000 },
    );
  });

  it('is refused when a name is no text, or that of a file and of a directory', () => {
    const tree = directoryOf(
      ['a', 'b', 'c', 'd'],
      Array.from({ length: 120 }, () => new Uint8Array(32)),
    );
    const encoded = encodeDirtree(tree);
    // Of the elements, each is a letter, a NUL and checksums.
    for (const [from, to] of [
      ['a', 0xff],
      ['c', 0xc3],
      ['d', 'c'.charCodeAt(0)],
      ['b', 'a'.charCodeAt(0)],
    ] as const) {
      const bytes = Buffer.from(encoded);
      const at = bytes.indexOf(`${from}\0`, 'latin1');
      bytes[at] = to;
      assert.throws(() => decodeDirtree(bytes), { code: 'InvalidData' }, from);
    }
  });

  it('is refused when its offsets are wider than they need to be, of which there is one size each', () => {
    const checksum = '11'.repeat(32);
    const namesOf = (lengths: readonly number[]): Dirtree => ({
      files: lengths.map((length, index) => ({ name: String.fromCharCode(97 + index).repeat(length), checksum })),
      directories: [],
    });
    /** A body with the offsets behind it, two bytes each. */
    const widened = (bytes: Buffer, ends: readonly number[]): Buffer =>
      Buffer.concat([bytes, ...ends.map((end) => Buffer.from(Uint16Array.of(end).buffer))]);
    const element = (length: number): number => length + 1 + 32 + 1;
    const ends = (lengths: readonly number[]): readonly number[] =>
      lengths.map((_, index) => lengths.slice(0, index + 1).reduce((sum, length) => sum + element(length), 0));

    const whole = [1, 1, 1, 1, 1, 2, 2];
    const body = encodeDirtree(namesOf(whole)).subarray(0, 254);
    assert.equal(decodeDirtree(Buffer.concat([body, Buffer.of(254)])).files.length, 7);
    assert.throws(() => decodeDirtree(widened(body, [254])), { code: 'InvalidData' }, 'of the whole');

    const list = [1, 1, 1, 1, 1, 1, 1];
    const elements = encodeDirtree(namesOf(list)).subarray(0, 245);
    const framed = widened(elements, ends(list));
    assert.throws(() => decodeDirtree(widened(framed, [framed.length])), { code: 'InvalidData' }, 'of a list');

    const long = encodeDirtree(namesOf([221])).subarray(0, 254);
    const wide = widened(long, [222]);
    const listed = widened(wide, [wide.length]);
    assert.throws(() => decodeDirtree(widened(listed, [listed.length])), { code: 'InvalidData' }, 'of an element');
  });

  it('is refused when it lists the directory itself or the one above', () => {
    for (const [name, forbidden] of [
      ['a', '.'],
      ['aa', '..'],
    ] as const) {
      const bytes = encodeDirtree({ files: [{ name, checksum: '11'.repeat(32) }], directories: [] });
      bytes.write(forbidden);
      assert.throws(() => decodeDirtree(bytes), { code: 'InvalidData' }, forbidden);
    }
  });
});
