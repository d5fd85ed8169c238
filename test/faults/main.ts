/** `npm run faults`: interrupts imports at as many moments as one has the time for. CI tries a fixed number. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { readFlags } from '../../tools/script-flags.ts';
import { ensureAll } from '../../tools/setup/index.ts';

const ROOT = join(import.meta.dirname, '..', '..');
const KINDS = ['killed', 'power-cut', 'io-error', 'full-disk'] as const;

const SCRIPT = {
  command: 'npm run faults',
  does: `Interrupts imports at random moments of each kind, on each file system, and asserts that what is left is sound and that the
next import completes. The seed is printed; the same seed gives the same moments.`,
  flags: {
    moments: { kind: 'number', says: 'moments of each kind', default: 100 },
    seed: { kind: 'number', says: 'repeats a run' },
    only: { kind: 'some', of: KINDS, says: 'kinds' },
  },
} as const;

async function main(): Promise<number> {
  const { values } = readFlags(SCRIPT);
  await ensureAll((line) => process.stdout.write(`${line}\n`), ['interop']);
  const files = values.only.map((kind) => `test/faults/import-${kind}.test.ts`);
  const { status } = spawnSync('mocha', ['--reporter', 'spec', '--timeout', '0', ...files], {
    cwd: ROOT,
    stdio: ['ignore', 'inherit', 'inherit'],
    env: {
      ...process.env,
      PATH: `${join(ROOT, 'node_modules', '.bin')}:${process.env['PATH']}`,
      TREELINE_FAULT_MOMENTS: String(values.moments),
      ...(values.seed !== undefined && { TREELINE_SEED: String(values.seed) }),
    },
  });
  return status ?? 1;
}

process.exitCode = await main();
