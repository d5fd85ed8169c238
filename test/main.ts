/**
 * `npm test`: sets the machine up, then runs every tier of tests, each in a mocha of its own, and ends with the sum of
 * what the runners counted. The tiers are the folders of test/, named for what they stand on.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, globSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { styleText } from 'node:util';
import { LAB_NAMESPACES, requireLabMachine } from '../testbed/nodes/lab-machine.ts';
import { readFlags } from '../tools/script-flags.ts';
import { ensureAll } from '../tools/setup/index.ts';
import type { Counts } from './report/count-reporter.ts';

const ROOT = join(import.meta.dirname, '..');
const BIN = join(ROOT, 'node_modules', '.bin');

interface Tier {
  readonly name: string;
  readonly standsOn: string;
  /** Milliseconds that one test may take before mocha calls it hung. */
  readonly timeoutMs: number;
  readonly needsMachine: boolean;
  /** Fails below the thresholds of .c8rc.json, which hold for the rooms that unit tests alone can cover. */
  readonly measuresCoverage?: true;
  /** Files that run at once, each in a process of its own; by default one after the other in one. */
  readonly jobs?: number;
  /** Left out with `--quick`. */
  readonly slow?: true;
  /** What it needs from a network, made ready before it runs in network and mount namespaces of its own, where there is none. */
  readonly prepareForNamespaces?: (say: (line: string) => void) => Promise<void>;
}

const TIERS: readonly Tier[] = [
  { name: 'checks', standsOn: 'the source tree', timeoutMs: 120_000, needsMachine: false },
  { name: 'unit', standsOn: 'Node alone', timeoutMs: 60_000, needsMachine: false, measuresCoverage: true },
  {
    name: 'interop',
    standsOn: 'ostree, skopeo, docker-registry and the peer importer',
    timeoutMs: 300_000,
    needsMachine: true,
  },
  { name: 'cluster', standsOn: 'a real Kubernetes control plane', timeoutMs: 300_000, needsMachine: true },
  { name: 'faults', standsOn: 'the whole system, killed at many moments', timeoutMs: 900_000, needsMachine: true },
  {
    name: 'vm',
    standsOn: 'a virtual machine that boots what treeline install wrote',
    timeoutMs: 900_000,
    needsMachine: true,
    // A machine has one processor, and waits a lot.
    jobs: 2,
    slow: true,
  },
  {
    name: 'nodes',
    standsOn: 'real kubelets, whose nodes boot what OSImages name',
    timeoutMs: 900_000,
    needsMachine: true,
    slow: true,
    prepareForNamespaces: async (say) => {
      await requireLabMachine();
      const { prepareNodeLab } = await import('../testbed/nodes/node-lab.ts');
      await prepareNodeLab(say);
    },
  },
];

const SLOW = TIERS.filter((tier) => tier.slow === true)
  .map((tier) => tier.name)
  .join(' and ');
const SCRIPT = {
  command: 'npm test',
  does: `Runs all tests, with --quick all but those of ${SLOW}. Tiers, in order:
${TIERS.map((tier) => `  ${tier.name.padEnd(8)} ${tier.standsOn}`).join('\n')}`,
  flags: {
    only: { kind: 'some', of: TIERS.map(({ name }) => name), says: 'tiers' },
    quick: { kind: 'switch', says: `without ${SLOW}` },
    grep: { kind: 'text', takes: 'TEXT', says: 'tests with this in their name' },
  },
} as const;

async function main(): Promise<number> {
  const { values } = readFlags(SCRIPT);
  const tiers = TIERS.filter(({ name, slow }) => values.only.includes(name) && !(values.quick && slow === true));
  const say = (line: string): void => void process.stdout.write(`${line}\n`);
  if (tiers.some((tier) => tier.needsMachine)) await ensureAll(say);

  const total: Counts = { passed: 0, failed: 0, skipped: 0 };
  for (const tier of tiers) {
    await tier.prepareForNamespaces?.(say);
    const counts = runTier(tier, values.grep);
    total.passed += counts.passed;
    total.failed += counts.failed;
    total.skipped += counts.skipped;
  }
  const skipped = total.skipped > 0 ? `, ${total.skipped} skipped` : '';
  process.stdout.write(`\n${total.passed} passed, ${total.failed} failed${skipped}\n`);
  return total.failed === 0 && total.passed > 0 ? 0 : 1;
}

function runTier(tier: Tier, grep: string | undefined): Counts {
  const files = globSync(`test/${tier.name}/**/*.test.ts`, { cwd: ROOT }).toSorted();
  if (files.length === 0) return { passed: 0, failed: 0, skipped: 0 };
  process.stdout.write(`\n${styleText('bold', tier.name)} (${tier.standsOn})\n`);
  const scratch = mkdtempSync(join(tmpdir(), 'treeline-test-'));
  const countsFile = join(scratch, 'counts.json');
  const started = performance.now();
  try {
    const [program = '', ...prefix]: readonly string[] = [
      ...(tier.prepareForNamespaces === undefined ? [] : LAB_NAMESPACES),
      ...(tier.measuresCoverage === true ? [join(BIN, 'c8')] : []),
      join(BIN, 'mocha'),
    ];
    const { status, signal, error } = spawnSync(
      program,
      [
        ...prefix,
        '--reporter',
        './test/report/count-reporter.ts',
        '--timeout',
        String(tier.timeoutMs),
        ...(tier.jobs === undefined ? [] : ['--parallel', `--jobs=${tier.jobs}`]),
        ...(grep === undefined ? [] : ['--fgrep', grep]),
        ...files,
      ],
      {
        cwd: ROOT,
        stdio: ['ignore', 'inherit', 'inherit'],
        env: { ...process.env, PATH: `${BIN}:${process.env['PATH']}`, TREELINE_TEST_COUNTS: countsFile },
      },
    );
    if (error !== undefined) throw error;
    const seconds = ((performance.now() - started) / 1000).toFixed(0);
    process.stdout.write(`${tier.name}: ${seconds} s\n`);
    if (!existsSync(countsFile)) {
      process.stdout.write(
        `${tier.name}: the runner ended early (${signal ?? `exit code ${status}`}) and reported no counts\n`,
      );
      return { passed: 0, failed: 1, skipped: 0 };
    }
    const counts = JSON.parse(readFileSync(countsFile, 'utf8')) as Counts;
    // A runner that fails for a reason that no test carries (an unhandled rejection, coverage) must not look green.
    return status !== 0 && counts.failed === 0 ? { ...counts, failed: 1 } : counts;
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

process.exitCode = await main();
