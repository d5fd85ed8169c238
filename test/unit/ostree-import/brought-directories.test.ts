import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { array, assert as assertProperty, property, uint8Array } from 'fast-check';
import { BroughtDirectories, unpackDirectories } from '../../../ostree/import/brought-directories.ts';

const checksumOf = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

describe('the directories that a layer has brought', () => {
  it('are found again by their checksums, byte for byte, each once', () => {
    assertProperty(
      property(array(uint8Array({ maxLength: 200 })), (objects) => {
        const brought = new BroughtDirectories();
        const expected = new Map<string, Buffer>();
        for (const object of [...objects, ...objects]) {
          brought.add(checksumOf(object), Buffer.from(object));
          expected.set(checksumOf(object), Buffer.from(object));
        }
        const packed = brought.pack();
        assert.ok(packed !== undefined);
        assert.deepEqual(unpackDirectories(packed), expected);
      }),
    );
  });

  it('are not kept when there are more than fit into memory', () => {
    const brought = new BroughtDirectories();
    const megabyte = Buffer.alloc(1024 * 1024);
    for (let index = 0; index < 17; index++) {
      megabyte.writeUInt32LE(index);
      brought.add(checksumOf(megabyte), megabyte);
    }
    assert.equal(brought.pack(), undefined);
  });
});
