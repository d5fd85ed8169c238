import assert from 'node:assert/strict';
import { WrittenFiles } from '../../../ostree/import/written-files.ts';

const names = (...numbers: readonly number[]): Buffer =>
  Buffer.concat(numbers.map((number) => Buffer.alloc(32, number)));

describe('the files of a layer that the disk has', () => {
  it('are those that were written before it was written out, once that has succeeded', () => {
    const files = new WrittenFiles();
    files.add(names(1, 2));
    const succeed = files.beginSync();
    files.add(names(3));
    assert.deepEqual(files.durable, []);
    succeed();
    assert.deepEqual(files.durable, [names(1, 2)]);
  });

  it('are never those of which writing out has failed', () => {
    const files = new WrittenFiles();
    files.add(names(1));
    files.beginSync();
    files.add(names(2));
    files.beginSync()();
    assert.deepEqual(files.durable, [names(2)]);
  });

  it('are remembered up to a number, however many there are', () => {
    const files = new WrittenFiles();
    const many = Buffer.alloc(32 * 1000);
    for (let index = 0; index < 300; index++) files.add(many);
    files.beginSync()();
    assert.equal(files.durable.length, 250);
  });
});
