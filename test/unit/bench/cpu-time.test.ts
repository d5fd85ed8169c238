import assert from 'node:assert/strict';
import { kernelThreadSeconds, processSeconds, secondsBetween } from '../../../bench/cpu-time.ts';

describe('CPU time by the kernel', () => {
  it('of a process is what it says itself', () => {
    const before = processSeconds(process.pid);
    const start = process.cpuUsage();
    while (process.cpuUsage(start).user < 200e3);
    const { user, system } = process.cpuUsage(start);
    const seen = processSeconds(process.pid) - before;
    assert.ok(Math.abs(seen - (user + system) / 1e6) < 0.1, `${seen} s`);
  });

  it('of the kernel does not count what is no thread of it', () => {
    const threads = kernelThreadSeconds();
    for (const pid of [1, process.pid]) assert.equal(threads.get(pid), undefined);
  });

  it('between two looks is that of the threads that were there before, began, or took over a number', () => {
    const before = new Map([
      [10, 1],
      [11, 5],
      [12, 3],
    ]);
    const after = new Map([
      [10, 1.5],
      [12, 0.25],
      [13, 2],
    ]);
    assert.equal(secondsBetween(before, after), 0.5 + 0.25 + 2);
    assert.equal(secondsBetween(before, before), 0);
  });
});
