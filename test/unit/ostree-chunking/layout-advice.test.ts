import assert from 'node:assert/strict';
import { adviseOnLayout } from '../../../ostree/chunking/layout-advice.ts';
import { pack } from '../../../ostree/chunking/pack.ts';
import { component } from './components.ts';

const components = Array.from({ length: 60 }, (_, index) =>
  component(`package-${index}`, { size: 100_000 * (index + 1), changeFrequency: index % 9 }),
);
const options = { maxLayers: 32, algorithm: 'default' } as const;

function advice(previous: readonly (readonly string[])[] | undefined) {
  const chunks = pack(components, { ...options, previous });
  return adviseOnLayout(components, chunks, { ...options, previous });
}

describe('advice on an earlier layout', () => {
  it('is none where there is no earlier one, and where it is as good as a new one', () => {
    assert.equal(advice(undefined), undefined);
    assert.equal(advice(pack(components, options).map(({ components }) => components)), undefined);
  });

  it('tells what a new one would save where the old one is much worse', () => {
    const found = advice([components.map(({ name }) => name)]);
    assert.ok(found?.kind === 'Worn');
    assert.ok(found.expectedBytes > 2 * found.freshBytes, JSON.stringify(found));
  });

  it('says that it could not be kept', () => {
    assert.deepEqual(advice(components.map(({ name }) => [name])), { kind: 'Discarded' });
  });
});
