import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { compareLayers, describeLayers, type DescribedLayer } from '../../../ostree/store/image-layers.ts';

const LAYERS = fc.array(
  fc.nat(6).map((seed): DescribedLayer => ({ digest: `sha256:${seed}`, size: 100 + seed })),
  { maxLength: 8 },
);

describe('the difference of two images', () => {
  it('adds up: what stays and what comes is all there is', () => {
    fc.assert(
      fc.property(LAYERS, LAYERS, (before, after) => {
        const { total, removed, added, addedLayers, removedLayers } = compareLayers(before, after);
        const digests = (layers: readonly DescribedLayer[]) => new Set(layers.map(({ digest }) => digest));
        const [old, current] = [digests(before), digests(after)];
        assert.equal(total.layers, current.size);
        assert.deepEqual(digests(addedLayers), current.difference(old));
        assert.deepEqual(digests(removedLayers), old.difference(current));
        const sum = (layers: readonly DescribedLayer[]) => layers.reduce((bytes, { size }) => bytes + size, 0);
        assert.deepEqual([added.bytes, removed.bytes], [sum(addedLayers), sum(removedLayers)]);
        const back = compareLayers(after, before);
        assert.deepEqual([back.added, back.removed], [removed, added]);
      }),
    );
  });
});

describe('the layers of an image', () => {
  const descriptor = (digit: string) => ({ mediaType: 'm', digest: `sha256:${digit.repeat(64)}`, size: 9 });
  const image = (history: readonly Record<string, unknown>[] | undefined) => ({
    manifest: { schemaVersion: 2 as const, config: descriptor('c'), layers: [descriptor('1'), descriptor('2')] },
    config: {
      architecture: 'amd64',
      os: 'linux',
      rootfs: { type: 'layers' as const, diff_ids: ['sha256:x', 'sha256:y'] },
      ...(history !== undefined && { history }),
    },
  });

  it('are told what made them, past the steps that made no layer', () => {
    const layers = describeLayers(
      image([{ created_by: 'one', created: null }, { created_by: 'ENV', empty_layer: true }, { created_by: 'two' }]),
    );
    assert.deepEqual(layers, [
      { digest: descriptor('1').digest, size: 9, diffId: 'sha256:x', createdBy: 'one' },
      { digest: descriptor('2').digest, size: 9, diffId: 'sha256:y', createdBy: 'two' },
    ]);
  });

  it('are listed with a history that is too short, or with none', () => {
    assert.deepEqual(
      describeLayers(image([{ created_by: 'one' }])).map(({ createdBy }) => createdBy),
      ['one', undefined],
    );
    assert.equal(describeLayers(image(undefined)).length, 2);
  });
});
