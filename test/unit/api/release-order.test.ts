import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { whyOlder } from '../../../api/index.ts';

const EARLY = '2026-01-01T00:00:00Z';
const LATE = '2026-02-01T00:00:00+01:00';

describe('Which of two images is older', () => {
  it('is what their times of creation say, whatever their versions do', () => {
    assert.match(
      whyOlder({ created: EARLY, version: '9' }, { created: LATE, version: '1' }) ?? '',
      /created 2026-01-01/,
    );
    assert.equal(whyOlder({ created: LATE, version: '1' }, { created: EARLY, version: '9' }), undefined);
    assert.equal(whyOlder({ created: EARLY, version: '1' }, { created: EARLY, version: '9' }), undefined);
  });

  it('is what their versions say, number by number, when one does not say when it was made, or says 1970', () => {
    for (const created of [undefined, '', 'yesterday', '1970-01-01T00:00:00Z', '1980-01-01T00:00:00Z']) {
      assert.match(
        whyOlder({ created, version: '41.9' }, { created: LATE, version: '41.10' }) ?? '',
        /41\.9 against 41\.10/,
      );
      assert.equal(whyOlder({ created, version: 'v41.10' }, { version: '41.9' }), undefined);
    }
    assert.equal(whyOlder({ version: '41' }, { version: '41.0' }), undefined);
    assert.ok(whyOlder({ version: '41' }, { version: '41.0.1' }));
  });

  it('cannot be told without numbers, and then neither is', () => {
    for (const version of [undefined, '', 'latest', 'bookworm']) {
      assert.equal(whyOlder({ version }, { version: '2' }), undefined);
      assert.equal(whyOlder({ version: '1' }, { version }), undefined);
    }
  });

  it('is never both of them, and never the same one', () => {
    const description = fc.record({
      created: fc.option(fc.constantFrom(EARLY, LATE, '1970-01-01T00:00:00Z'), { nil: undefined }),
      version: fc.option(fc.stringMatching(/^v?[0-9]{1,3}(\.[0-9]{1,20}){0,3}[a-z]?$/), { nil: undefined }),
    });
    fc.assert(
      fc.property(description, description, (one, other) => {
        assert.equal(whyOlder(one, one), undefined);
        assert.ok(whyOlder(one, other) === undefined || whyOlder(other, one) === undefined);
      }),
    );
  });
});
