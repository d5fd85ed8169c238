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

  it('counts the time of one whose parent was killed and that nobody waits for', async function () {
    this.timeout(60_000);
    // As a confined process is: its own parent dies first, and with that the kernel's sum is lost.
    const script = `
      const { spawn } = require('node:child_process');
      const busy = 'const end = process.cpuUsage().user + 300e3; while (process.cpuUsage().user < end); setInterval(() => {}, 1e6)';
      const outer = spawn('sh', ['-c', '"$0" -e "$1" & echo $!; wait', process.execPath, busy], { stdio: ['ignore', 'pipe', 'ignore'] });
      let inner = '';
      outer.stdout.on('data', (text) => (inner += text));
      setTimeout(() => { outer.kill('SIGKILL'); process.kill(Number(inner), 'SIGKILL'); }, 2000);`;
    const cost = await measure(process.execPath, ['-e', script]);
    assert.ok(cost.cpuSeconds >= 0.3 && cost.cpuSeconds < 5, `${cost.cpuSeconds} s of CPU time`);
  });

  it('fails with the words of a command that fails', async () => {
    await assert.rejects(measure('sh', ['-c', 'echo no luck >&2; exit 3']), /ended with 3: no luck/);
  });
});
