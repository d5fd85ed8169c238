import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { planRanges, type Range, totalBytes } from '../../../ostree/import/zstd-chunked/range-plan.ts';

/** Sorted ranges that do not overlap, some of them adjacent, some empty. */
const ranges = fc
  .array(fc.tuple(fc.integer({ min: 0, max: 2000 }), fc.integer({ min: 0, max: 2000 })), { maxLength: 30 })
  .map((steps) => {
    let position = 0;
    return steps.map(([gap, size]): Range => {
      const start = position + gap;
      position = start + size;
      return { start, end: position };
    });
  });
const limits = fc.record({
  maxRanges: fc.integer({ min: 1, max: 10 }),
  minSkippedBytes: fc.integer({ min: 1, max: 3000 }),
});

describe('the plan of ranges', () => {
  it('covers all that is needed with no more requests than allowed, in order', () => {
    fc.assert(
      fc.property(ranges, limits, (needed, limit) => {
        const plan = planRanges(needed, limit);
        assert.ok(plan.length <= limit.maxRanges);
        for (const { start, end } of needed) {
          assert.ok(start === end || plan.some((range) => range.start <= start && end <= range.end));
        }
        for (const [index, { start }] of plan.entries()) {
          assert.ok(index === 0 || start - plan[index - 1]!.end >= limit.minSkippedBytes);
        }
      }),
    );
  });

  it('leaves out the largest parts, so that no plan with as many requests fetches less', () => {
    fc.assert(
      fc.property(ranges, limits, (needed, limit) => {
        const plan = planRanges(needed, limit);
        const used = needed.filter(({ start, end }) => end > start);
        const span = used.length === 0 ? 0 : used.at(-1)!.end - used[0]!.start;
        const gaps = used.slice(1).map(({ start }, index) => start - used[index]!.end);
        const largest = gaps
          .filter((gap) => gap >= limit.minSkippedBytes)
          .sort((a, b) => b - a)
          .slice(0, limit.maxRanges - 1);
        assert.equal(totalBytes(plan), span - largest.reduce((sum, gap) => sum + gap, 0));
      }),
    );
  });
});
