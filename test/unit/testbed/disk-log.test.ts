import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { CACHES, type DiskEvent, durableCount, survivors, writesBetween } from '../../../testbed/disk-log.ts';

const event: fc.Arbitrary<DiskEvent> = fc.oneof(
  fc.constant<DiskEvent>({ kind: 'flush' }),
  fc.record({
    kind: fc.constant('write' as const),
    offset: fc.nat(2 ** 20).map((sector) => sector * 512),
    length: fc.integer({ min: 1, max: 64 }).map((sectors) => sectors * 512),
    position: fc.nat(2 ** 20),
  }),
);
const log = fc.array(event, { maxLength: 60 });

describe('the log of a disk', () => {
  it('takes for certain what a flush has followed, and nothing after the cut', () => {
    fc.assert(
      fc.property(log, fc.nat(60), (events, cut) => {
        const durable = durableCount(events, cut);
        assert.ok(durable <= cut);
        assert.ok(durable === 0 || events[durable - 1]?.kind === 'flush');
        assert.ok(events.slice(durable, cut).every(({ kind }) => kind === 'write'));
      }),
    );
  });

  it('lets survive only parts of what was written, whole blocks of them, in order', () => {
    const seed = fc.infiniteStream(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }));
    fc.assert(
      fc.property(log, fc.constantFrom(...CACHES), seed, (events, cache, randoms) => {
        const random = (): number => randoms.next().value ?? 0;
        const writes = writesBetween(events, 0, events.length);
        const left = survivors(writes, cache, random);
        let at = 0;
        for (const { offset, length, position } of left) {
          const within = (write: (typeof writes)[number] | undefined): boolean =>
            write !== undefined &&
            position - write.position === offset - write.offset &&
            position >= write.position &&
            position + length <= write.position + write.length;
          while (at < writes.length && !within(writes[at])) at++;
          assert.ok(at < writes.length, 'each survivor is part of a write, and they are in the order of the writes');
          const torn = offset % 4096 !== 0 && offset !== writes[at]?.offset;
          assert.ok(!torn, 'a block is not torn');
        }
        if (cache === 'all') assert.deepEqual(left, writes);
        if (cache === 'none') assert.deepEqual(left, []);
        if (cache === 'one-missing') assert.equal(left.length, Math.max(0, writes.length - 1));
      }),
    );
  });
});
