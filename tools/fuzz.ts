/** `npm run fuzz`: every parser of bytes from strangers, for as long as one likes. CI gives each less than a second. */
import { randomInt } from 'node:crypto';
import process from 'node:process';
import { parseArgs } from 'node:util';
import { fuzz } from '../testbed/fuzz/fuzz.ts';
import { FUZZ_TARGETS } from '../testbed/fuzz/targets.ts';

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '60' },
    seed: { type: 'string' },
    target: { type: 'string', multiple: true },
  },
});
const names = values.target ?? FUZZ_TARGETS.map(({ name }) => name);
const targets = FUZZ_TARGETS.filter(({ name }) => names.includes(name));
const seed = values.seed === undefined ? randomInt(2 ** 32) : Number(values.seed);
if (targets.length !== names.length || !Number.isSafeInteger(seed)) {
  process.stderr.write(
    `npm run fuzz -- [--seconds N] [--seed N] [--target NAME…], with targets ${FUZZ_TARGETS.map(({ name }) => name).join(', ')}\n`,
  );
  process.exit(2);
}
// At least one round each, so that `--seconds 0` shows a failure again.
const each = Math.max(1, (Number(values.seconds) * 1000) / targets.length);
for (const target of targets) {
  const { rounds } = await fuzz(target, seed, each);
  process.stdout.write(`${target.name}: ${rounds} rounds from seed ${seed}, no promise broken\n`);
}
