/** A bench of virtual machines for the tests of a suite. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { VmBench } from '../../testbed/vm/vm-bench.ts';

/** Has the suite in which it is called start a bench before its tests; its logs are kept if one of them fails. */
export function useVmBench(machines = 1): () => VmBench {
  let bench: VmBench | undefined;
  let logs = '';
  before(async () => {
    logs = await mkdtemp(join(tmpdir(), 'treeline-vm-logs-'));
    const say = (line: string) => void process.stdout.write(`${line}\n`);
    bench = await VmBench.start({ logs, machines, say });
  });
  after(async function keepLogsOfFailures() {
    await bench?.[Symbol.asyncDispose]();
    const failed = this.test?.parent?.tests.some(({ state }) => state !== 'passed') ?? true;
    if (failed) process.stdout.write(`The logs of the machine and the operator are in ${logs}.\n`);
    else await rm(logs, { recursive: true });
  });
  return () => {
    if (bench === undefined) throw new Error('the bench is there once the suite runs');
    return bench;
  };
}
