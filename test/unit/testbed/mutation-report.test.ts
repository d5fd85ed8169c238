import assert from 'node:assert/strict';
import { parseMutationReport } from '../../../testbed/mutation/mutation-run.ts';

const FILE = 'operator/rollout/slots.ts';

describe('What is read of a mutation report', () => {
  const mutant = (status: string, line = 1) => ({
    status,
    mutatorName: 'BlockStatement',
    replacement: '{\n  }',
    location: { start: { line } },
  });
  const read = (...mutants: readonly ReturnType<typeof mutant>[]) =>
    parseMutationReport(FILE, { files: { [FILE]: { mutants } } });

  it('counts a mutant that no test reaches among those that survive, with its place', () => {
    const { survivors } = read(mutant('Survived', 7), mutant('NoCoverage', 9), mutant('Killed'));
    assert.deepEqual(survivors, [
      { line: 7, what: 'BlockStatement: { }' },
      { line: 9, what: 'BlockStatement: { }' },
    ]);
  });

  it('tells those that a test noticed from those whose tests never ended, and leaves out those that do not load', () => {
    const { killed, timedOut, survivors } = read(
      mutant('Killed'),
      mutant('Killed'),
      mutant('Timeout'),
      mutant('RuntimeError'),
      mutant('Ignored'),
    );
    assert.deepEqual([killed, timedOut, survivors], [2, 1, []]);
  });
});
