import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { array, assert as assertProperty, property, uint8Array, uniqueArray } from 'fast-check';
import { encodeChecksumDirectory } from '../../../ostree/objects/checksum-directory.ts';
import { ChecksumSet } from '../../../ostree/objects/checksum-set.ts';
import { encodeDirtree } from '../../../ostree/objects/dirtree.ts';

const numbered = (index: number): string => createHash('sha256').update(String(index)).digest('hex');
const CHECKSUM = uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => Buffer.from(bytes).toString('hex'));

describe('a set of checksums', () => {
  it('holds what a Set of strings holds, each with the number it came with first', () => {
    assertProperty(
      property(array(CHECKSUM), array(CHECKSUM), (added, others) => {
        const set = new ChecksumSet();
        const expected = new Map<string, number>();
        for (const [index, checksum] of [...added, ...added].entries()) {
          assert.equal(set.add(checksum, index), !expected.has(checksum));
          if (!expected.has(checksum)) expected.set(checksum, index);
        }
        for (const checksum of [...added, ...others]) {
          assert.equal(set.has(checksum), expected.has(checksum));
          assert.equal(set.hasBytes(Buffer.from(`0000${checksum}`, 'hex'), 2), expected.has(checksum));
          assert.equal(set.note(checksum), expected.get(checksum));
        }
        assert.equal(set.toBytes().toString('hex'), [...expected.keys()].join(''));
      }),
    );
  });

  it('finds each of ten thousand again, also of those that begin with the same digits', () => {
    for (const prefix of ['', '00000000', 'ffffffff']) {
      const set = new ChecksumSet();
      const name = (index: number): string => prefix + numbered(index).slice(prefix.length);
      const count = prefix === '' ? 10_000 : 1000;
      for (let index = 0; index < count; index++) assert.ok(set.add(name(index), index));
      for (let index = 0; index < count; index++) assert.equal(set.note(name(index)), index);
      assert.equal(set.note(name(count)), undefined);
      assert.equal(set.size, count);
    }
  });

  it('takes checksums from the names of files, and nothing else', () => {
    const [prefix, rest] = [numbered(7).slice(0, 2), numbered(7).slice(2)];
    const set = new ChecksumSet();
    for (const name of ['', rest.slice(1), rest.toUpperCase(), `${rest.slice(0, 61)}g.file`, `é${rest}`, `.${rest}`])
      assert.equal(set.addNamed(prefix, name), false, name);
    for (const other of ['', 'F', 'Ff', 'zz', 'é']) assert.equal(set.addNamed(other, `${rest}.file`), false, other);
    assert.equal(set.size, 0);
    assert.equal(set.addNamed(prefix, `${rest}.file`), true);
    assert.equal(set.addNamed(prefix, `${rest}.file`), false);
    assert.ok(set.has(numbered(7)));
    assert.equal(set.size, 1);
  });

  it('refuses what is no checksum', () => {
    for (const text of ['', 'ab', numbered(1).toUpperCase(), `${numbered(1)}0`, 'x'.repeat(64)]) {
      assert.throws(() => new ChecksumSet().add(text), { code: 'InvalidData' });
    }
    assert.equal(new ChecksumSet().has('ab'), false);
  });
});

describe('a directory of files that are named by their checksums', () => {
  it('is, byte for byte, the directory object of these names', () => {
    const expect = (checksums: readonly string[]): void => {
      const files = checksums.map((checksum) => ({ name: checksum, checksum }));
      const encoded = encodeChecksumDirectory(Buffer.from(checksums.join(''), 'hex'));
      assert.ok(encoded.equals(encodeDirtree({ files, directories: [] })), `${checksums.length} files`);
    };
    // Around the sizes at which offsets get wider.
    for (const count of [0, 1, 2, 3, 654, 655, 656, 3000])
      expect(Array.from({ length: count }, (_, index) => numbered(index)));
    assertProperty(property(uniqueArray(CHECKSUM), expect));
  });
});
