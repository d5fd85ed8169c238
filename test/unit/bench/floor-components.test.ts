import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { deal, lowerBound } from '../../../bench/floor-components.ts';

describe('the floor of an import', () => {
  it('is all CPU time over the cores when the layers are small and the disk is quick', () => {
    const bound = lowerBound(
      [
        { name: 'inflate', bytes: 1, cpuSeconds: 4, wallSeconds: 2, longestSeconds: 1 },
        { name: 'write files, syncfs', bytes: 1, cpuSeconds: 2, wallSeconds: 1.5 },
      ],
      2,
    );
    assert.deepEqual(bound, { cpuSeconds: 3, chainSeconds: 1, diskSeconds: 1.5, seconds: 3 });
  });

  it('is the largest layer when it takes longer to inflate than the rest together', () => {
    const inflate = { name: 'inflate', bytes: 1, cpuSeconds: 4, wallSeconds: 4, longestSeconds: 4 };
    assert.equal(lowerBound([inflate], 8).seconds, 4);
  });

  it('is the disk when that is what everybody waits for', () => {
    const write = { name: 'write files, syncfs', bytes: 1, cpuSeconds: 0.5, wallSeconds: 9 };
    assert.equal(lowerBound([write], 2).seconds, 9);
  });

  it('gives every size to one core, and no core more than the average and one size', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(1000)), fc.integer({ min: 1, max: 8 }), (sizes, cores) => {
        const dealt = deal(sizes, cores);
        const ascending = (values: readonly number[]): readonly number[] => values.toSorted((a, b) => a - b);
        assert.equal(dealt.length, cores);
        assert.deepEqual(ascending(dealt.flat()), ascending(sizes));
        const total = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0);
        for (const own of dealt) assert.ok(total(own) <= total(sizes) / cores + Math.max(0, ...sizes));
      }),
    );
  });
});
