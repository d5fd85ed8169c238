import assert from 'node:assert/strict';
import { type Dirtree, encodeDirtree } from '../../../ostree/objects/dirtree.ts';
import { PackedDirtree } from '../../../ostree/objects/packed-dirtree.ts';
import { TreeBounds } from '../../../ostree/import/tree-bounds.ts';

const packed = (directory: Dirtree): PackedDirtree => new PackedDirtree(encodeDirtree(directory));
const checksum = (number: number): string => number.toString(16).padStart(64, '0');

/** A tree of `depth` levels, each of which refers `times` times to the next. */
function nested(depth: number, times: number, name: (time: number) => string): TreeBounds {
  const bounds = new TreeBounds();
  for (let level = 0; level < depth; level++) {
    const directories = Array.from({ length: level + 1 === depth ? 0 : times }, (_, time) => ({
      name: name(time),
      dirtree: checksum(level + 1),
      dirmeta: checksum(0),
    }));
    bounds.add(checksum(level), packed({ files: [{ name: 'f', checksum: checksum(9) }], directories }));
  }
  return bounds;
}

describe('the bounds of a tree', () => {
  const refusal = { name: 'ImportError', code: 'InvalidImage' };

  it('take in what an operating system has', () => {
    nested(15, 1, () => 'some-directory').check(checksum(0));
    nested(2, 20_000, (time) => `file-${time}`).check(checksum(0));
  });

  it('refuse directories that are deeper than any path, without a recursion of their own', () => {
    assert.throws(() => nested(100_000, 1, () => 'd').check(checksum(0)), {
      ...refusal,
      message: /paths of more than/,
    });
  });

  it('refuse a few objects that stand for more files than any disk holds, in no time', () => {
    const bounds = nested(64, 2, (time) => `d${time}`);
    const started = performance.now();
    assert.throws(() => bounds.check(checksum(0)), { ...refusal, message: /files and directories/ });
    assert.ok(performance.now() - started < 5000);
  });

  it('refuse names that no file system holds', () => {
    const long: Dirtree = { files: [{ name: 'ß'.repeat(128), checksum: checksum(1) }], directories: [] };
    assert.throws(() => new TreeBounds().add(checksum(0), packed(long)), { ...refusal, message: /name of 256 bytes/ });
  });
});
