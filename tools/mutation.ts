/**
 * `npm run mutation`: changes the planner in many small ways and sees whether its tests notice. What survives is a test that
 * does not bite, or code that changes nothing.
 *
 *   [FILE…]        files of operator/rollout (default: all of them, in an order that --seed draws)
 *   --minutes N    no further file is begun after so long (default 20)
 *   --seed N       repeats an order
 *   --output json
 */
import { createHash, randomInt } from 'node:crypto';
import { glob } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import process from 'node:process';
import { parseArgs } from 'node:util';
import { mutate, type MutationResult } from '../testbed/mutation/mutation-run.ts';
import { PlannerCopy } from '../testbed/mutation/planner-copy.ts';
import { ensureMutationTester } from './setup/mutation-tester.ts';
import { sayOnStandardError as say } from './setup/index.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    minutes: { type: 'string', default: '20' },
    seed: { type: 'string' },
    output: { type: 'string', default: 'text' },
  },
});
const seed = values.seed === undefined ? randomInt(2 ** 31) : Number(values.seed);
const end = performance.now() + Number(values.minutes) * 60_000;
if (!Number.isSafeInteger(seed) || Number.isNaN(end)) {
  process.stderr.write('npm run mutation -- [--minutes N] [--seed N] [--output json] [operator/rollout/FILE.ts…]\n');
  process.exit(2);
}

const root = fileURLToPath(new URL('..', import.meta.url));
const all: string[] = [];
for await (const file of glob('operator/rollout/**/*.ts', { cwd: root })) all.push(file);
const unknown = positionals.filter((file) => !all.includes(file));
if (unknown.length > 0) {
  process.stderr.write(`${unknown.join(', ')}: not a file of the planner; give paths such as ${all[0]}\n`);
  process.exit(2);
}
const packages = await ensureMutationTester(say);
await using copy = await PlannerCopy.make(packages);
const results: MutationResult[] = [];
for (const file of positionals.length > 0 ? positionals : shuffled(all, seed)) {
  if (performance.now() > end) break;
  say(`Mutants of ${file} …`);
  results.push(await mutate(copy.path, packages, file));
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
