/** `npm run faults`: interrupts imports at as many moments as one has the time for. CI tries a fixed number. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { ensureAll } from '../../tools/setup/index.ts';

const ROOT = join(import.meta.dirname, '..', '..');
const KINDS = ['killed', 'power-cut', 'io-error', 'full-disk'] as const;

const HELP = `npm run faults -- [--moments N] [--seed N] [--only KIND[,KIND…]]

Interrupts imports at N random moments of each kind, on each file system, and asserts that what is left is sound and that
the next import completes. The seed is printed; the same seed gives the same moments.
Kinds: ${KINDS.join(', ')}.
`;

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      moments: { type: 'string', default: '100' },
      seed: { type: 'string' },
      only: { type: 'string', default: KINDS.join(',') },
      help: { type: 'boolean' },
    },
  });
  const kinds = values.only.split(',');
  const wrong = [values.moments, values.seed ?? '0'].some((text) => !/^\d+$/.test(text));
  if (values.help === true || wrong || kinds.some((kind) => !(KINDS as readonly string[]).includes(kind))) {
    process.stdout.write(HELP);
    return values.help === true ? 0 : 2;
  }
  await ensureAll((line) => process.stdout.write(`${line}\n`), ['interop']);
  const files = kinds.map((kind) => `test/faults/import-${kind}.test.ts`);
  const { status } = spawnSync('mocha', ['--reporter', 'spec', '--timeout', '0', ...files], {
    cwd: ROOT,
    stdio: ['ignore', 'inherit', 'inherit'],
    env: {
      ...process.env,
      PATH: `${join(ROOT, 'node_modules', '.bin')}:${process.env['PATH']}`,
      TREELINE_FAULT_MOMENTS: values.moments,
      ...(values.seed !== undefined && { TREELINE_SEED: values.seed }),
    },
  });
  return status ?? 1;
}

process.exitCode = await main();
