/** What holds for every confined process, whatever it is for. */
import assert from 'node:assert/strict';
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { confinedBelow } from '../../testbed/confined-processes.ts';

function start(...parameters: string[]): ChildProcessByStdio<null, Readable, Readable> {
  return spawn(process.execPath, [fileURLToPath(new URL('./confining-process.ts', import.meta.url)), ...parameters], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

/** A process that has been killed may be seen until its parent takes notice. */
async function isAlive(pid: number): Promise<boolean> {
  return await readFile(`/proc/${pid}/status`, 'utf8').then(
    (status) => !/^State:\s+Z/m.test(status),
    () => false,
  );
}

describe('a confined process', () => {
  it('that heeds nothing any more dies with whoever started it, however that ends', async () => {
    const parent = start();
    const exited = once(parent, 'exit');
    assert.deepEqual(String((await once(parent.stdout, 'data'))[0]), 'here\n');
    const confined = await confinedBelow(parent.pid ?? 0);
    assert.equal(confined.length, 1);
    try {
      parent.kill('SIGKILL');
      await exited;
      while (await isAlive(confined[0] ?? 0)) await delay(20);
    } finally {
      for (const pid of confined) if (await isAlive(pid)) process.kill(pid, 'SIGKILL');
    }
  });

  it('does not begin on a kernel without filters of system calls, and says what to do', async () => {
    const parent = start('without-seccomp');
    const said = text(parent.stdout);
    const complaint = text(parent.stderr);
    const [code] = (await once(parent, 'close')) as [number | null];
    assert.equal(await said, '');
    assert.match(await complaint, /system calls could not be filtered \(ENOSYS: .*CONFIG_SECCOMP_FILTER/);
    assert.match(await complaint, /--unpack=in-process and --fetch=in-process/);
    assert.equal(code, 1);
  });
});
