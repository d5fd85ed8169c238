/** `npm run fuzz`: every parser of bytes from strangers, for as long as one likes. CI gives each less than a second. */
import { randomInt } from 'node:crypto';
import process from 'node:process';
import { fuzz } from '../testbed/fuzz/fuzz.ts';
import { FUZZ_TARGETS } from '../testbed/fuzz/targets.ts';
import { readFlags } from './script-flags.ts';

const { values } = readFlags({
  command: 'npm run fuzz',
  does: 'Feeds every parser of bytes from strangers with what it does not expect. The seed is printed; the same one does the same.',
  flags: {
    seconds: { kind: 'number', says: 'for all targets together', default: 60 },
    seed: { kind: 'number', says: 'repeats a run' },
    target: { kind: 'some', of: FUZZ_TARGETS.map(({ name }) => name), says: 'what is fed' },
  },
});
const { seed = randomInt(2 ** 32) } = values;
const targets = FUZZ_TARGETS.filter(({ name }) => values.target.includes(name));
// At least one round each, so that `--seconds 0` shows a failure again.
const each = Math.max(1, (values.seconds * 1000) / targets.length);
for (const target of targets) {
  const began = performance.now();
  const { rounds } = await fuzz(target, seed, each);
  const seconds = ((performance.now() - began) / 1000).toFixed(1);
  process.stdout.write(`${target.name}: ${rounds} rounds in ${seconds} s from seed ${seed}, no promise broken\n`);
}
