import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { partitionInOrder } from '../../../ostree/chunking/contiguous-partition.ts';
import { contentOf, expectedBytes } from '../../../ostree/chunking/layer-cost.ts';
import { refine } from '../../../ostree/chunking/refinement.ts';

interface Item {
  readonly size: number;
  readonly probability: number;
}

const items = fc.array(
  fc.record({
    size: fc.integer({ min: 1, max: 1_000_000 }),
    probability: fc.double({ min: 0.001, max: 0.9, noNaN: true }),
  }),
  { minLength: 1, maxLength: 9 },
);

const costOf = (layers: readonly (readonly Item[])[]) =>
  layers.reduce((sum, layer) => sum + expectedBytes(contentOf(layer)), 0);

/** Every division into neighbours, at most `maxLayers` of them. */
function* divisions(all: readonly Item[], maxLayers: number): Generator<readonly (readonly Item[])[]> {
  if (all.length === 0) yield [];
  if (all.length === 0 || maxLayers === 0) return;
  for (let end = 1; end <= all.length; end++) {
    for (const rest of divisions(all.slice(end), maxLayers - 1)) yield [all.slice(0, end), ...rest];
  }
}

describe('the division of units in an order', () => {
  it('is the best of all divisions into neighbours', () => {
    fc.assert(
      fc.property(items, fc.integer({ min: 1, max: 5 }), (all, maxLayers) => {
        const layers = partitionInOrder(all, maxLayers);
        assert.ok(layers.length <= maxLayers);
        assert.deepEqual(layers.flat(), all);
        const best = Math.min(...Array.from(divisions(all, maxLayers), costOf));
        assert.ok(costOf(layers) <= best * (1 + 1e-9), `${costOf(layers)} instead of ${best}`);
      }),
    );
  });

  it('only gets better when units are moved, and loses none', () => {
    fc.assert(
      fc.property(items, fc.integer({ min: 1, max: 5 }), (all, maxLayers) => {
        const layers = partitionInOrder(all, maxLayers);
        const refined = refine(layers);
        assert.ok(costOf(refined) <= costOf(layers) * (1 + 1e-9));
        assert.ok(refined.length <= layers.length);
        assert.deepEqual(new Set(refined.flat()), new Set(all));
        assert.equal(refined.flat().length, all.length);
      }),
    );
  });
});
