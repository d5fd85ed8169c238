import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { canonicalJson } from '../../../registry/index.ts';

describe('canonical JSON', () => {
  it('has sorted members, no white space, and nothing undefined', () => {
    assert.equal(
      canonicalJson({ b: [1, { z: null, a: true }], a: undefined, '€': 'ü\n', A: 1e21 }),
      '{"A":1e+21,"b":[1,{"a":true,"z":null}],"€":"ü\\n"}',
    );
  });

  it('is sorted by UTF-16 code units', () => {
    const value = { '\u{1f600}': 1, '\ufb33': 2, b: -1.5, '': '\u0001"' };
    assert.equal(canonicalJson(value), '{"":"\\u0001\\"","b":-1.5,"\u{1f600}":1,"\ufb33":2}');
  });

  it('means the same as the value, and does not depend on the order of its members', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        const plain: unknown = JSON.parse(JSON.stringify(value));
        assert.deepEqual(JSON.parse(canonicalJson(plain)), plain);
        if (typeof plain === 'object' && plain !== null && !Array.isArray(plain)) {
          const reversed = Object.fromEntries(Object.entries(plain).reverse());
          assert.equal(canonicalJson(reversed), canonicalJson(plain));
        }
      }),
    );
  });

  it('refuses what JSON cannot say', () => {
    for (const value of [Number.NaN, Infinity, () => 1, undefined, Symbol('x')]) {
      assert.throws(() => canonicalJson(value), TypeError);
    }
  });
});
