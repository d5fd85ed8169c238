import assert from 'node:assert/strict';
import type { NodeOS } from '../../../api/index.ts';
import { PhaseTimes } from '../../../testbed/vm/phase-times.ts';

describe('the phases of an update', () => {
  it('have the seconds from one to the next, however often the object is written meanwhile', () => {
    const times = new PhaseTimes();
    const note = (name: string, phase: string, second: number) => {
      const phaseTime = `2026-11-30T10:00:${String(second).padStart(2, '0')}Z`;
      times.note({ metadata: { name }, status: { rollout: { phase, phaseTime } } } as unknown as NodeOS);
    };
    note('a', 'Staging', 0);
    note('a', 'Staging', 0);
    note('b', 'Pending', 1);
    note('a', 'Draining', 12);
    note('a', 'Rebooting', 13);
    times.note({ metadata: { name: 'a' } } as unknown as NodeOS);
    assert.equal(times.describe('a'), 'Staging 12 s, Draining 1 s, Rebooting');
    assert.equal(times.describe('b'), 'Pending');
    assert.equal(times.describe('c'), '');
  });
});
