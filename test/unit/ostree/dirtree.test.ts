import assert from 'node:assert/strict';
import { array, assert as assertProperty, property, string, uint8Array, uniqueArray } from 'fast-check';
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
});
