import assert from 'node:assert/strict';
import { measure } from '../../../bench/measured-process.ts';

const BUSY_CHILD = `
  const memory = Buffer.alloc(150e6, 1);
  const end = process.cpuUsage().user + 100e3;
  while (process.cpuUsage().user < end);
  if (memory[0] !== 1) process.exit(1);
`;

describe('what a command costs', () => {
  it('counts the time and the memory of a grandchild', async function () {
    // Two processes are started, and the machine may be busy.
    this.timeout(60_000);
    const script = `require('node:child_process').execFileSync(process.execPath, ['-e', ${JSON.stringify(BUSY_CHILD)}])`;
    const cost = await measure(process.execPath, ['-e', script]);
    assert.ok(cost.cpuSeconds >= 0.1 && cost.cpuSeconds < 5, `${cost.cpuSeconds} s of CPU time`);
    assert.ok(cost.wallSeconds >= 0.1, `${cost.wallSeconds} s`);
    assert.ok(cost.peakBytes > 190e6 && cost.peakBytes < 500e6, `${cost.peakBytes} bytes resident`);
    assert.ok(cost.peakProportionalBytes > 150e6, `${cost.peakProportionalBytes} bytes in proportion`);
    assert.ok(cost.peakProportionalBytes < cost.peakBytes, 'two Nodes share their program');
  });

  it('fails with the words of a command that fails', async () => {
    await assert.rejects(measure('sh', ['-c', 'echo no luck >&2; exit 3']), /ended with 3: no luck/);
  });
});
