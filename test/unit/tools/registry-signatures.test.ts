import assert from 'node:assert/strict';
import { judgeAudit } from '../../../tools/release/registry-signatures.ts';

describe('the signatures of the package registry', () => {
  it('are good only when npm has an answer, and says so', () => {
    assert.deepEqual(judgeAudit(0, '{"invalid":[],"missing":[]}'), { verdict: 'good' });
    for (const [status, stdout] of [
      [0, ''],
      [0, '{}'],
      [0, 'audited 500 packages'],
      [1, '{"invalid":[],"missing":[]}'],
      [null, '{"invalid":[],"missing":[]}'],
    ] as const)
      assert.equal(judgeAudit(status, stdout).verdict, 'unknown', `${status} ${stdout}`);
  });

  it('are refused by name when one is not good or not there, whatever the exit status', () => {
    const answer = '{"invalid":[{"name":"a","version":"1.0.0","code":"EINTEGRITYSIGNATURE"}],"missing":[{"name":"b"}]}';
    for (const status of [0, 1])
      assert.deepEqual(judgeAudit(status, answer), { verdict: 'refused', packages: ['a 1.0.0', 'b'] });
  });

  it('are unknown, with the reason, when nobody could be asked', () => {
    const error = { code: 'ENOTFOUND', summary: 'request to https://keys.example failed', detail: '' };
    assert.deepEqual(judgeAudit(1, JSON.stringify({ error })), {
      verdict: 'unknown',
      reason: 'request to https://keys.example failed',
    });
    assert.deepEqual(judgeAudit(null, '', new Error('spawnSync npm ENOENT')), {
      verdict: 'unknown',
      reason: 'spawnSync npm ENOENT',
    });
  });
});
