import assert from 'node:assert/strict';
import { changeProbability } from '../../../ostree/chunking/change-rate.ts';
import { MAX_FREQUENCY } from '../../../ostree/chunking/component.ts';
import { component } from './components.ts';

const probability = (changes: Parameters<typeof component>[1]) => changeProbability(component('one', changes));

describe('how likely a component is to change', () => {
  it('grows with what its change log says, and is never none or certain', () => {
    const rates = [0, 1, 5, 12, 52, 1000, MAX_FREQUENCY].map((changeFrequency) => probability({ changeFrequency }));
    assert.deepEqual(
      rates,
      rates.toSorted((a, b) => a - b),
    );
    assert.ok(rates.every((rate) => rate > 0 && rate < 1));
  });

  it('is told by a Debian version where there is no change log', () => {
    assert.equal(probability({ version: '3.0.11-1~deb12u7' }), probability({ changeFrequency: 7 }));
    assert.equal(probability({ version: '1.2-3+deb11u2' }), probability({ changeFrequency: 2 }));
    assert.equal(probability({ version: '1.2-3+deb11u2', changeFrequency: 9 }), probability({ changeFrequency: 9 }));
    assert.equal(probability({ version: '5.2.15-2+b2' }), probability({}));
  });
});
