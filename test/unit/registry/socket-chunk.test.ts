import assert from 'node:assert/strict';
import { releaseMemory } from '../../../registry/socket-chunk.ts';

describe('the memory of a chunk', () => {
  it('is given back when nothing else can lie in it', () => {
    const whole = Buffer.allocUnsafeSlow(64 * 1024);
    releaseMemory(whole.subarray(0, 1000));
    releaseMemory(whole.subarray(0, 40_000));
    assert.equal(whole.length, 64 * 1024);
    releaseMemory(whole.subarray(300));
    assert.equal(whole.length, 0);
  });

  it('stays when it may be a part of what Node cuts small buffers from, also the last part', () => {
    const { buffer } = Buffer.allocUnsafe(1000);
    const length = Buffer.poolSize / 2 - 1;
    const last = Buffer.from(buffer, buffer.byteLength - length);
    releaseMemory(last);
    assert.equal(last.length, length);
    assert.ok(Buffer.allocUnsafe(length).buffer.byteLength > length, 'so long a buffer may be a part of it');
    assert.equal(Buffer.allocUnsafe(length + 1).buffer.byteLength, length + 1);
  });
});
