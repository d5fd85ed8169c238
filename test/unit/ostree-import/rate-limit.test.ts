import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { RateLimit } from '../../../ostree/import/rate-limit.ts';

/** Of the numbers involved, which are added up in another order here than there. */
const ROUNDING = 1e-6;

const rates = fc.integer({ min: 1, max: 10_000_000_000 });
/** Requests: share of a burst, and milliseconds since the one before. */
const requests = fc.array(
  fc.record({ share: fc.double({ min: 0, max: 1, noNaN: true }), pause: fc.integer({ min: 0, max: 2000 }) }),
  { minLength: 1, maxLength: 40 },
);

interface Given {
  readonly at: number;
  readonly bytes: number;
}

/** What comes when each request is made as soon as its time has come and the last one was served, or by all at once. */
function play(rate: number, asked: readonly { share: number; pause: number }[], inTurn: boolean): readonly Given[] {
  const limit = new RateLimit(rate);
  let now = 0;
  return asked.map(({ share, pause }) => {
    now += pause;
    const bytes = Math.floor(share * limit.burst);
    const at = now + limit.reserve(bytes, now);
    if (inTurn) now = at;
    return { at, bytes };
  });
}

describe('a rate limit', () => {
  it('never gives more than the rate times the time, plus one burst, in any span of time', () => {
    fc.assert(
      fc.property(rates, requests, fc.boolean(), (rate, asked, inTurn) => {
        const given = play(rate, asked, inTurn);
        const { burst } = new RateLimit(rate);
        for (const [first, { at: start }] of given.entries()) {
          let bytes = 0;
          for (const { at: end, bytes: more } of given.slice(first)) {
            bytes += more;
            const most = (rate * (end - start)) / 1000 + burst;
            assert.ok(bytes <= most * (1 + ROUNDING), `${bytes} bytes in ${end - start} ms, not ${most}`);
          }
        }
      }),
    );
  });

  it('gives the whole rate to whoever asks on and on', () => {
    fc.assert(
      fc.property(rates, fc.integer({ min: 1, max: 200 }), (rate, count) => {
        const given = play(
          rate,
          Array.from({ length: count }, () => ({ share: 1, pause: 0 })),
          true,
        );
        const { burst } = new RateLimit(rate);
        const expected = ((count - 1) * burst * 1000) / rate;
        assert.ok(Math.abs((given.at(-1)?.at ?? 0) - expected) <= expected * ROUNDING);
      }),
    );
  });

  it('has a burst of a tenth of a second, between 16 and 256 KiB', () => {
    const bursts = [1, 1_000_000, 1_000_000_000].map((rate) => new RateLimit(rate).burst);
    assert.deepEqual(bursts, [16 * 1024, 100_000, 256 * 1024]);
  });

  it('refuses a rate that nothing can keep to, and more than a burst at once', () => {
    for (const rate of [0, -1, Number.NaN, Number.POSITIVE_INFINITY]) {
      assert.throws(() => new RateLimit(rate), RangeError);
    }
    const limit = new RateLimit(1);
    assert.throws(() => limit.reserve(limit.burst + 1, 0), RangeError);
  });
});
