import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { fuzz } from '../../../testbed/fuzz/fuzz.ts';
import { FUZZ_TARGETS } from '../../../testbed/fuzz/targets.ts';

/** For each target; `npm run fuzz` takes as long as one has. */
const MILLISECONDS = 1000;

describe('bytes from strangers are refused by name, in bounded time, or mean one thing only:', () => {
  // Another one every time: the failure names the seed of the round that broke its promise.
  const seed = randomInt(2 ** 32);
  for (const target of FUZZ_TARGETS) {
    it(`${target.name} (seed ${seed})`, async () => {
      const { rounds } = await fuzz(target, seed, MILLISECONDS);
      assert.ok(rounds > 0);
    });
  }

  it('and a broken promise would be seen', async () => {
    const broken = { name: 'broken', round: () => void JSON.parse('{') };
    await assert.rejects(fuzz(broken, 7, 1000), /broken broke its promise with seed 7; see it again with/);
  });
});
