/** `npm run mutation`: changes the planner in many small ways and sees whether its tests notice. */
import { createHash, randomInt } from 'node:crypto';
import { glob } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import process from 'node:process';
import { mutate, type MutationResult } from '../testbed/mutation/mutation-run.ts';
import { PlannerCopy } from '../testbed/mutation/planner-copy.ts';
import { OUTPUT, readFlags } from './script-flags.ts';
import { ensureMutationTester } from './setup/mutation-tester.ts';
import { sayOnStandardError as say } from './setup/index.ts';

const { values, operands } = readFlags({
  command: 'npm run mutation',
  does: `Changes the planner in many small ways and sees whether its tests notice. What survives is a test that does not bite, or
code that changes nothing. FILE is one of operator/rollout (default: all of them, in an order that --seed draws).`,
  operands: 'FILE',
  flags: {
    minutes: { kind: 'number', says: 'no further file is begun after so long', default: 20 },
    tests: {
      kind: 'text',
      takes: 'GLOB',
      default: '*',
      says: 'only those of test/unit/rollout, such as `growth` or `{gates,staging*}`: seconds for a mutant, not minutes',
    },
    seed: { kind: 'number', says: 'repeats an order' },
    output: OUTPUT,
  },
});
const { seed = randomInt(2 ** 31) } = values;
const end = performance.now() + values.minutes * 60_000;

const root = fileURLToPath(new URL('..', import.meta.url));
const all: string[] = [];
for await (const file of glob('operator/rollout/**/*.ts', { cwd: root })) all.push(file);
const unknown = operands.filter((file) => !all.includes(file));
if (unknown.length > 0) {
  process.stderr.write(`${unknown.join(', ')}: not a file of the planner; give paths such as ${all[0]}\n`);
  process.exit(2);
}
const packages = await ensureMutationTester(say);
await using copy = await PlannerCopy.make(packages);
const results: MutationResult[] = [];
for (const file of operands.length > 0 ? operands : shuffled(all, seed)) {
  if (performance.now() > end) break;
  say(`Mutants of ${file} …`);
  const result = await mutate(copy.path, packages, file, values.tests);
  results.push(result);
  // A run takes long, and one that is ended loses the table.
  say(table([result]).trimEnd());
}
process.stdout.write(
  values.output === 'json' ? `${JSON.stringify({ seed, results }, undefined, 2)}\n` : table(results),
);
say(`${results.length} of ${all.length} files, seed ${seed}.`);

function table(rows: readonly MutationResult[]): string {
  const lines = rows.map(({ file, killed, timedOut, survivors }) => {
    const noticed = killed + timedOut;
    const of = noticed + survivors.length;
    const where = survivors.map(({ line, what }) => `    ${file}:${line} ${what}\n`).join('');
    return `${file}: ${noticed} of ${of} noticed\n${where}`;
  });
  const noticed = rows.reduce((sum, { killed, timedOut }) => sum + killed + timedOut, 0);
  const of = noticed + rows.reduce((sum, { survivors }) => sum + survivors.length, 0);
  return `${lines.join('')}In all: ${noticed} of ${of} mutants noticed (${((100 * noticed) / Math.max(1, of)).toFixed(1)} %)\n`;
}

/** In an order that looks like none, another for each seed. */
function shuffled(files: readonly string[], from: number): readonly string[] {
  const place = (file: string) => createHash('sha256').update(`${from} ${file}`).digest('hex');
  return files.toSorted((left, right) => (place(left) < place(right) ? -1 : 1));
}
