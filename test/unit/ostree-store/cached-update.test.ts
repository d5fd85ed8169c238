import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { variant, type VariantDictionary } from '../../../ostree/gvariant/value.ts';
import { decodeDictionary, encodeDictionary } from '../../../ostree/objects/commit.ts';
import { cachedUpdateIn, withCachedUpdate } from '../../../ostree/store/cached-update.ts';

const UPDATE = {
  manifestDigest: `sha256:${'a'.repeat(64)}`,
  manifest: {
    schemaVersion: 2 as const,
    config: { mediaType: 'c', digest: `sha256:${'b'.repeat(64)}`, size: 1 },
    layers: [],
  },
  config: {
    architecture: 'amd64',
    os: 'linux',
    config: { Labels: { 'org.opencontainers.image.version': '7' } },
    rootfs: { type: 'layers' as const, diff_ids: [] },
  },
};
const OTHERS = fc
  .uniqueArray(fc.tuple(fc.string({ unit: 'grapheme-ascii', minLength: 1 }), fc.string({ unit: 'grapheme-ascii' })), {
    selector: ([key]) => key,
  })
  .map((entries): VariantDictionary => entries.map(([key, value]) => [key, variant.string(value)]));

describe('a cached update', () => {
  it('is read back as it was written, and leaves all else in its place', () => {
    fc.assert(
      fc.property(OTHERS, (others) => {
        const written = decodeDictionary(encodeDictionary(withCachedUpdate(others, UPDATE)));
        assert.deepEqual(cachedUpdateIn(written), { ...UPDATE, version: '7' });
        assert.deepEqual(withCachedUpdate(written, undefined), others);
        assert.deepEqual(withCachedUpdate(written, UPDATE), written, 'it is there once');
      }),
    );
  });

  it('is none when it is incomplete or garbage', () => {
    const whole = withCachedUpdate([], UPDATE);
    for (const [key] of whole) {
      assert.equal(cachedUpdateIn(whole.filter(([name]) => name !== key)), undefined, key);
    }
    const keys = whole.map(([key]) => key).filter((key) => !key.endsWith('digest'));
    for (const key of keys) {
      for (const garbage of ['', '{', 'null', '7']) {
        const broken = whole.map(([name, value]) => [name, name === key ? variant.string(garbage) : value] as const);
        assert.equal(cachedUpdateIn(broken), undefined, `${key}: ${garbage}`);
      }
    }
  });
});
