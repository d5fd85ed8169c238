import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { conditionSchema, toTimestamp, withCondition, type Condition } from '../../../api/index.ts';

const NOON = new Date('2026-11-23T12:00:00.987Z');
const LATER = new Date('2026-11-23T13:00:00Z');
const ready = { type: 'Ready', status: 'False', reason: 'RollingOut', message: 'one of three' } as const;

describe('withCondition', () => {
  it('adds a condition that was not there, with the time in whole seconds', () => {
    assert.deepEqual(withCondition([], ready, NOON), [{ ...ready, lastTransitionTime: '2026-11-23T12:00:00Z' }]);
  });

  it('keeps the transition time while only the words change', () => {
    const before = withCondition([], ready, NOON);
    const [after] = withCondition(before, { ...ready, message: 'two of three' }, LATER);
    assert.equal(after?.lastTransitionTime, '2026-11-23T12:00:00Z');
    assert.equal(after?.message, 'two of three');
  });

  it('moves the transition time when the status changes', () => {
    const before = withCondition([], ready, NOON);
    const [after] = withCondition(before, { ...ready, status: 'True' }, LATER);
    assert.equal(after?.lastTransitionTime, '2026-11-23T13:00:00Z');
  });

  it('keeps every type once and in its place, so that an unchanged status has the same bytes', () => {
    const next = fc.record({
      type: fc.constantFrom('Ready', 'Progressing', 'Stalled', 'Paused'),
      status: fc.constantFrom('True', 'False', 'Unknown'),
      reason: fc.constant('Because'),
      message: fc.string(),
    });
    fc.assert(
      fc.property(fc.array(next), next, (sequence, last) => {
        let conditions: readonly Condition[] = [];
        for (const one of [...sequence, last]) conditions = withCondition(conditions, one, NOON);
        const types = conditions.map(({ type }) => type);
        assert.equal(new Set(types).size, types.length);
        assert.deepEqual(types, [...new Set([...sequence, last].map(({ type }) => type))]);
        assert.equal(withCondition(conditions, last, LATER), conditions, 'the very list, where nothing changes');
        for (const condition of conditions) conditionSchema.parse(condition);
      }),
    );
  });

  it('writes times that the API server reads as RFC 3339', () => {
    assert.equal(toTimestamp(NOON), '2026-11-23T12:00:00Z');
  });
});
