import assert from 'node:assert/strict';
import { RegistryError } from '../../../registry/index.ts';
import { writeError } from '../../../registry/durable-file.ts';
import { reasonOf } from '../../../registry/errors.ts';
import { SYSTEM_CLOCK } from '../../../registry/options.ts';

describe('errors of registry/', () => {
  it('of a disk say what to do about it', () => {
    const disk = (code: string): unknown =>
      writeError('/x', Object.assign(new Error(`${code}: no`), { code, syscall: 'write' }));
    for (const [code, words] of [
      ['ENOSPC', /the disk is full; free some space\.$/],
      ['EDQUOT', /the disk is full/],
      ['EROFS', /the file system is read-only; choose another place\.$/],
      ['EACCES', /check the path and its permissions\.$/],
    ] as const) {
      const error = disk(code);
      assert.ok(error instanceof RegistryError);
      assert.match(error.message, words);
    }
    const other = new Error('not the disk');
    assert.equal(writeError('/x', other), other);
  });

  it('find words where Node leaves the outer message empty', () => {
    const inner = new Error('connect ECONNREFUSED ::1:1');
    assert.equal(reasonOf(new AggregateError([inner])), inner.message);
    assert.equal(reasonOf(new Error('', { cause: inner })), inner.message);
    assert.equal(reasonOf('text'), 'text');
  });
});

describe('the system clock', () => {
  it('wakes with the reason of an abort', async () => {
    const controller = new AbortController();
    const reason = new Error('enough');
    const sleeping = SYSTEM_CLOCK.sleep(60_000, controller.signal);
    controller.abort(reason);
    await assert.rejects(sleeping, reason);
    await SYSTEM_CLOCK.sleep(1);
    assert.ok(SYSTEM_CLOCK.random() < 1 && SYSTEM_CLOCK.now() > 0);
  });
});
