/** What the cache promises: no answer to a write is ever undone by an event from before it. */
import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { ObjectCache } from '../../../operator/kube/object-cache.ts';
import { compareResourceVersions, supersedes } from '../../../operator/kube/resource-version.ts';

const object = (name: string, resourceVersion: number, value = '', uid = `uid-${name}`) => ({
  metadata: { name, uid, resourceVersion: String(resourceVersion) },
  value,
});

describe('resource versions', () => {
  it('compare as numbers of any size', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: 2n ** 80n }), fc.bigInt({ min: 0n, max: 2n ** 80n }), (a, b) => {
        const order = compareResourceVersions(String(a), String(b)) ?? Number.NaN;
        assert.equal(Math.sign(order), a < b ? -1 : a > b ? 1 : 0);
      }),
    );
  });

  it('that are no numbers are unknown, and then the newer news wins', () => {
    assert.equal(compareResourceVersions('abc', '12'), undefined);
    assert.equal(compareResourceVersions('012', '12'), undefined);
    assert.ok(supersedes('abc', '12'));
    assert.ok(!supersedes('12', '12'));
  });
});

describe('the object cache', () => {
  let cache: ObjectCache<ReturnType<typeof object>>;
  let changes: number;
  beforeEach(() => {
    cache = new ObjectCache();
    changes = 0;
    cache.onChange(() => (changes += 1));
  });

  it('has synced after the first list, even of nothing', () => {
    assert.ok(!cache.hasSynced);
    cache.replace([], '7');
    assert.ok(cache.hasSynced);
    assert.equal(changes, 1);
  });

  it('keeps the answer to a write when an older event arrives after it', () => {
    cache.replace([object('a', 1, 'old')], '1');
    cache.observe(object('a', 5, 'ours'));
    cache.applyEvent('MODIFIED', object('a', 3, 'older'));
    assert.equal(cache.get('a')?.value, 'ours');
    cache.applyEvent('MODIFIED', object('a', 6, 'newer'));
    assert.equal(cache.get('a')?.value, 'newer');
  });

  it('keeps what was created while a list was on its way, and drops what the list no longer has', () => {
    cache.replace([object('a', 1), object('b', 2)], '2');
    cache.observe(object('c', 9));
    cache.replace([object('a', 1)], '8');
    assert.deepEqual(
      cache.values().map((one) => one.metadata.name),
      ['a', 'c'],
    );
  });

  it('does not bring back what we deleted, until another object of that name comes', () => {
    cache.replace([object('a', 1)], '1');
    cache.forget('a', 'uid-a');
    cache.applyEvent('MODIFIED', object('a', 2, 'late'));
    assert.equal(cache.get('a'), undefined);
    cache.replace([object('a', 2, 'late list')], '3');
    assert.equal(cache.get('a'), undefined);
    cache.observe(object('a', 5, 'new', 'uid-2'));
    cache.applyEvent('DELETED', object('a', 4));
    assert.equal(cache.get('a')?.value, 'new');
  });

  it('believes the list alone after the API was restored from a backup', () => {
    cache.replace([object('a', 100, 'lost')], '100');
    cache.observe(object('b', 101, 'lost'));
    cache.replace([object('a', 40, 'restored')], '50');
    assert.deepEqual(cache.values(), [object('a', 40, 'restored')]);
  });

  it('tells of changes of content only: a heartbeat moves the version and wakes nobody', () => {
    cache.replace([object('a', 1, 'same')], '1');
    cache.applyEvent('MODIFIED', object('a', 2, 'same'));
    assert.equal(changes, 1);
    assert.equal(cache.get('a')?.metadata.resourceVersion, '2');
    cache.applyEvent('MODIFIED', object('a', 3, 'other'));
    assert.equal(changes, 2);
  });

  it('never goes back in time, whatever the order of events, answers and lists', () => {
    const news = fc.record({
      kind: fc.constantFrom('event' as const, 'answer' as const),
      version: fc.integer({ min: 1, max: 40 }),
    });
    fc.assert(
      fc.property(fc.array(news, { maxLength: 40 }), (all) => {
        const cache = new ObjectCache<ReturnType<typeof object>>();
        cache.replace([], '0');
        let newest = 0;
        for (const { kind, version } of all) {
          if (kind === 'answer') cache.observe(object('a', version));
          else cache.applyEvent('MODIFIED', object('a', version));
          newest = Math.max(newest, version);
          assert.equal(cache.get('a')?.metadata.resourceVersion, String(newest));
        }
      }),
    );
  });
});
