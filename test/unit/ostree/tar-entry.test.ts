import assert from 'node:assert/strict';
import { BLOCK_BYTES, encodePaxXattrs, encodeTarEntry, tarPadding } from '../../../ostree/encapsulate/tar-entry.ts';

const text = (bytes: Buffer, start: number, end: number): string => bytes.toString('latin1', start, end);
const ENTRY = { type: 'file', path: 'usr/bin/sh', mode: 0o755, uid: 0, gid: 0, size: 5 } as const;

describe('tar headers of an encapsulated image', () => {
  it('are GNU headers without time or names, whose checksum is right', () => {
    const block = encodeTarEntry(ENTRY);
    assert.equal(block.length, BLOCK_BYTES);
    assert.equal(text(block, 100, 136), ['0000755\0', '0000000\0', '0000000\0', '00000000005\0'].join(''));
    assert.equal(text(block, 136, 148), '00000000000\0');
    assert.equal(text(block, 156, 157), '0');
    assert.equal(text(block, 257, 265), 'ustar  \0');
    assert.ok(block.subarray(265).every((byte) => byte === 0));
    const stated = Number.parseInt(text(block, 148, 155), 8);
    block.fill(' ', 148, 156);
    assert.equal(
      stated,
      block.reduce((sum, byte) => sum + byte, 0),
    );
  });

  it('carry names of more than 100 bytes in entries of their own', () => {
    const [path, target] = ['p'.repeat(101), 't'.repeat(700)];
    const blocks = encodeTarEntry({ ...ENTRY, type: 'symlink', size: 0, path, target });
    assert.equal(blocks.length, (2 + 3 + 1) * BLOCK_BYTES);
    assert.equal(text(blocks, 156, 157), 'L');
    assert.equal(text(blocks, BLOCK_BYTES, BLOCK_BYTES + 102), `${path}\0`);
    assert.equal(text(blocks, 2 * BLOCK_BYTES + 156, 2 * BLOCK_BYTES + 157), 'K');
    assert.equal(text(blocks, 3 * BLOCK_BYTES, 3 * BLOCK_BYTES + 701), `${target}\0`);
    assert.equal(encodeTarEntry({ ...ENTRY, path: 'p'.repeat(100) }).length, BLOCK_BYTES);
  });

  it('carry numbers too large for octal digits in binary', () => {
    const block = encodeTarEntry({ ...ENTRY, uid: 2_097_152, size: 8 * 1024 ** 3 });
    assert.equal(block.toString('hex', 108, 116), '8000000000200000');
    assert.equal(block.toString('hex', 124, 136), '800000000000000200000000');
    assert.equal(text(encodeTarEntry({ ...ENTRY, uid: 2_097_151 }), 108, 116), '7777777\0');
  });

  it('carry extended attributes byte for byte in PAX records that count their own length', () => {
    for (const size of [1, 60, 64, 65, 66, 70, 950, 960]) {
      const value = Buffer.alloc(size, 0x80);
      const bytes = encodePaxXattrs([{ name: 'security.capability', value }]);
      const length = Number.parseInt(text(bytes, 124, 135), 8);
      const record = bytes.subarray(BLOCK_BYTES, BLOCK_BYTES + length);
      assert.equal(Number.parseInt(record.toString('latin1'), 10), length);
      const start = record.indexOf('=') + 1;
      assert.equal(record.toString('latin1', record.indexOf(' ') + 1, start), 'SCHILY.xattr.security.capability=');
      assert.deepEqual(record.subarray(start), Buffer.concat([value, Buffer.from('\n')]));
      assert.equal(bytes.length % BLOCK_BYTES, 0);
    }
    assert.equal(encodePaxXattrs([]).length, 0);
  });

  it('pad content to whole blocks', () => {
    assert.deepEqual(
      [0, 1, 511, 512, 513].map((size) => tarPadding(size).length),
      [0, 511, 1, 0, 511],
    );
  });
});
