import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { layOut, partitionScript, SMALLEST_DISK_BYTES } from '../../../cli/install/disk-layout.ts';
import { parseSize } from '../../../cli/size.ts';

const MEBIBYTE = 1024 * 1024;
const TEBIBYTE = 1024 ** 4;

describe('the layout of an installed disk', () => {
  it('has two whole partitions, one behind the other, on every disk that is large enough, and none beyond what an MBR can count', () => {
    fc.assert(
      fc.property(fc.integer({ min: SMALLEST_DISK_BYTES, max: 64 * TEBIBYTE }), (bytes) => {
        const { boot, root } = layOut('disk', bytes);
        for (const { startBytes, bytes: size } of [boot, root]) {
          assert.equal(startBytes % MEBIBYTE, 0);
          assert.equal(size % MEBIBYTE, 0);
          assert.ok((startBytes + size) / 512 <= 2 ** 32);
        }
        assert.ok(boot.startBytes >= MEBIBYTE);
        assert.equal(root.startBytes, boot.startBytes + boot.bytes);
        assert.ok(root.startBytes + root.bytes <= bytes);
        const unused = Math.min(bytes, 2 * TEBIBYTE) - root.startBytes - root.bytes;
        assert.ok(unused < 2 * MEBIBYTE, 'nothing worth having is left over');
      }),
    );
  });

  it('refuses a disk that is a byte too small', () => {
    assert.throws(() => layOut('disk', SMALLEST_DISK_BYTES - 1), { code: 'DiskTooSmall' });
    layOut('disk', SMALLEST_DISK_BYTES);
  });

  it('is told to sfdisk in sectors, with the boot partition marked', () => {
    assert.equal(
      partitionScript(layOut('disk', 2 * 1024 * MEBIBYTE)),
      'label: dos\nunit: sectors\nsector-size: 512\nstart=2048, size=1048576, type=83, bootable\nstart=1050624, size=3143680, type=83\n',
    );
  });
});

describe('a size on the command line', () => {
  it('is a number of bytes, with K, M, G or T for powers of 1024', () => {
    assert.deepEqual(
      ['512', '1K', '800M', '10G', '2T'].map((text) => parseSize('--size', text)),
      [512, 1024, 800 * MEBIBYTE, 10 * 1024 * MEBIBYTE, 2 * TEBIBYTE],
    );
  });

  it('is nothing else', () => {
    for (const text of ['', '0', '-1', '1.5G', '10g', '10GB', '99999999T', 'G']) {
      assert.throws(() => parseSize('--size', text), { code: 'Usage' }, text);
    }
  });
});
