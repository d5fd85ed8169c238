import assert from 'node:assert/strict';
import type { Order } from '../../../api/index.ts';
import { effectiveLimits } from '../../../node-agent/image-store.ts';
import type { PullLimits } from '../../../ostree/index.ts';

const rateOf = ({ bytesPerSecond }: PullLimits) =>
  typeof bytesPerSecond === 'function' ? bytesPerSecond() : bytesPerSecond;

describe('The limits of a pull', () => {
  it('are the smaller of what the agent was started with and what its order says, in the moment', () => {
    let ordered: Order['limits'] = { bytesPerSecond: 2000 };
    const limits = effectiveLimits({ bytesPerSecond: 3000, concurrentFetches: 2 }, () => ordered);
    assert.equal(rateOf(limits), 2000);
    assert.equal(limits.concurrentFetches, 2);
    ordered = { bytesPerSecond: 5000 };
    assert.equal(rateOf(limits), 3000);
    ordered = undefined;
    assert.equal(rateOf(limits), 3000);
  });

  it('are none when neither says any', () => {
    const limits = effectiveLimits(undefined, () => undefined);
    assert.equal(rateOf(limits), undefined);
    assert.equal(limits.minimumFreeBytes, undefined);
  });

  it('keep free what the order says', () => {
    assert.equal(effectiveLimits({}, () => ({ minimumFreeBytes: 7 })).minimumFreeBytes, 7);
  });
});
