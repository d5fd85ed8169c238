/**
 * `npm test`: sets the machine up, then runs every tier of tests, each in a mocha of its own, and ends with the sum of
 * what the runners counted. The tiers are the folders of test/, named for what they stand on.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
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
  /**
   * How two tests run at once, because most wait for other programs most of the time: by `file`, whichever of two processes is
   * free takes the next; by `half`, each has its share from the start, for files that share what lives as long as a process.
   */
  readonly pairedBy?: 'file' | 'half';
  /** Left out with `--quick`. */
  readonly slow?: true;
  /** What it needs from a network, made ready before it runs in network and mount namespaces of its own, where there is none. */
  readonly prepareForNamespaces?: (say: (line: string) => void) => Promise<void>;
}

const TIERS: readonly Tier[] = [
  { name: 'checks', standsOn: 'the source tree', timeoutMs: 300_000, needsMachine: false },
  {
    name: 'unit',
    standsOn: 'Node alone',
    timeoutMs: 300_000,
    needsMachine: false,
    measuresCoverage: true,
    pairedBy: 'file',
  },
  {
    name: 'interop',
    standsOn: 'ostree, skopeo, docker-registry and the peer importer',
    timeoutMs: 300_000,
    needsMachine: true,
    pairedBy: 'file',
  },
  {
    name: 'cluster',
    standsOn: 'a real Kubernetes control plane',
    timeoutMs: 300_000,
    needsMachine: true,
    pairedBy: 'half',
  },
  {
    name: 'faults',
    standsOn: 'the whole system, killed at many moments',
    timeoutMs: 900_000,
    needsMachine: true,
    pairedBy: 'file',
  },
  {
    name: 'vm',
    standsOn: 'a virtual machine that boots what treeline install wrote',
    timeoutMs: 900_000,
    needsMachine: true,
    pairedBy: 'file',
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
      const { ensureGuestImage } = await import('../testbed/vm/guest-image.ts');
      await ensureGuestImage(say, 'Node');
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
    add(total, await runTier(tier, values.grep));
  }
  const skipped = total.skipped > 0 ? `, ${total.skipped} skipped` : '';
  process.stdout.write(`\n${total.passed} passed, ${total.failed} failed${skipped}\n`);
  return total.failed === 0 && total.passed > 0 ? 0 : 1;
}

async function runTier(tier: Tier, grep: string | undefined): Promise<Counts> {
  const files = globSync(`test/${tier.name}/**/*.test.ts`, { cwd: ROOT }).toSorted();
  const total: Counts = { passed: 0, failed: 0, skipped: 0 };
  if (files.length === 0) return total;
  process.stdout.write(`\n${styleText('bold', tier.name)} (${tier.standsOn})\n`);
  const started = performance.now();
  const halves = [0, 1].map((half) => files.filter((_, at) => at % 2 === half));
  // A mocha without files would look for some by itself.
  const shares = tier.pairedBy === 'half' ? halves.filter((half) => half.length > 0) : [files];
  for (const counts of await Promise.all(shares.map((share) => runFiles(tier, share, grep)))) add(total, counts);
  process.stdout.write(`${tier.name}: ${((performance.now() - started) / 1000).toFixed(0)} s\n`);
  return total;
}

/** Runs a mocha of its own, whose counts are returned. */
async function runFiles(tier: Tier, files: readonly string[], grep: string | undefined): Promise<Counts> {
  const scratch = mkdtempSync(join(tmpdir(), 'treeline-test-'));
  const countsFile = join(scratch, 'counts.json');
  try {
    const [program = '', ...prefix]: readonly string[] = [
      ...(tier.prepareForNamespaces === undefined ? [] : LAB_NAMESPACES),
      ...(tier.measuresCoverage === true ? [join(BIN, 'c8')] : []),
      join(BIN, 'mocha'),
    ];
    const mocha = spawn(
      program,
      [
        ...prefix,
        '--reporter',
        './test/report/count-reporter.ts',
        '--timeout',
        String(tier.timeoutMs),
        ...(tier.pairedBy === 'file' ? ['--parallel', '--jobs=2'] : []),
        ...(grep === undefined ? [] : ['--fgrep', grep]),
        ...files,
      ],
      {
        cwd: ROOT,
        stdio: ['ignore', 'inherit', 'inherit'],
        env: { ...process.env, PATH: `${BIN}:${process.env['PATH']}`, TREELINE_TEST_COUNTS: countsFile },
      },
    );
    const [status, signal] = (await once(mocha, 'exit')) as [number | null, NodeJS.Signals | null];
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

function add(total: Counts, counts: Counts): void {
  total.passed += counts.passed;
  total.failed += counts.failed;
  total.skipped += counts.skipped;
}

process.exitCode = await main();
