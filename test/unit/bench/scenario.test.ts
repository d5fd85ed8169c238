import assert from 'node:assert/strict';
import { groupScenarios, orderOfTurn, SCENARIO_NAMES } from '../../../bench/scenario.ts';

describe('the scenarios of the import benchmark', () => {
  it('that go on with a repository bring the one that fills it, and run after it', () => {
    assert.deepEqual(groupScenarios(new Set(['update'])), [{ first: 'chunked', next: ['update'] }]);
    assert.deepEqual(groupScenarios(new Set(['single'])), [{ first: 'single', next: [] }]);
  });

  it('check an unchanged repository before it is updated', () => {
    const chunked = groupScenarios(new Set(SCENARIO_NAMES)).find(({ first }) => first === 'chunked');
    assert.deepEqual(chunked?.next, ['check', 'agent', 'update']);
  });

  it('let each contender go first as often as the other', () => {
    const turns = [0, 1, 2, 3].map((turn) => orderOfTurn(['a', 'b'], turn).join(''));
    assert.deepEqual(turns, ['ab', 'ba', 'ab', 'ba']);
  });
});
