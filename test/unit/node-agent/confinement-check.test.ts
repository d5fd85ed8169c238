import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { whyNotConfined } from '../../../node-agent/confinement-check.ts';

const started = (program: string, ...parameters: readonly string[]) =>
  whyNotConfined(true, () => spawn(program, parameters, { stdio: ['pipe', 'pipe', 'pipe'] }));

describe('the check whether processes can be confined', () => {
  it('finds nothing where one starts, and ends when nobody asks it for anything', async () => {
    assert.equal(await started('cat'), undefined);
  });

  it('says why one cannot, in the words of the tool that could not', async () => {
    assert.equal(await started('sh', '-c', 'echo "unshare: no" >&2; exit 1'), 'unshare: no');
    assert.equal(await started('sh', '-c', 'exit 7'), 'it ended with exit code 7');
    assert.match((await started('/nowhere/setpriv')) ?? '', /ENOENT/);
  });
});
