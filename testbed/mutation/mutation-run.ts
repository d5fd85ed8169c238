/** One run of the mutation tester over one file of the planner, and what it found. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import process from 'node:process';

/** A change of the code that no test noticed. */
export interface Survivor {
  readonly line: number;
  readonly what: string;
}

export interface MutationResult {
  readonly file: string;
  /** Noticed by a test that failed. */
  readonly killed: number;
  /** Noticed because the tests did not come to an end. */
  readonly timedOut: number;
  readonly survivors: readonly Survivor[];
}

/** Each mutant runs the tests that reach it; the properties with this many worlds, since nearly all of them are reached. */
const PROPERTY_RUNS = '5';

/**
 * Tries every mutant of `file` in the copy of the planner at `path`.
 * @param packages folder that the mutation tester is installed in
 * @param tests that are run, of test/unit/rollout: a glob without the ending
 * @throws Error when the tester fails, for instance because the tests fail without any mutant
 */
export async function mutate(path: string, packages: string, file: string, tests = '*'): Promise<MutationResult> {
  const report = join(path, 'mutation.json');
  const configuration = {
    testRunner: 'mocha',
    plugins: ['@stryker-mutator/mocha-runner'],
    mutate: [file],
    mochaOptions: { spec: [`test/unit/rollout/${tests}.test.ts`], config: '.mocharc.json', package: 'package.json' },
    coverageAnalysis: 'perTest',
    concurrency: 1,
    timeoutMS: 60_000,
    dryRunTimeoutMinutes: 20,
    // A sentence that is worded differently is no fault of the planner.
    mutator: { excludedMutations: ['StringLiteral'] },
    reporters: ['json'],
    jsonReporter: { fileName: report },
    tempDirName: join(path, 'sandbox'),
    allowConsoleColors: false,
    checkers: [],
  };
  await writeFile(join(path, 'stryker.config.json'), JSON.stringify(configuration));
  const child = spawn(process.execPath, [join(packages, '@stryker-mutator/core/bin/stryker.js'), 'run'], {
    cwd: path,
    env: { ...process.env, TREELINE_PROPERTY_RUNS: PROPERTY_RUNS },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const said: Buffer[] = [];
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => said.push(chunk));
  const [code] = (await once(child, 'close')) as [number | null];
  if (code !== 0) {
    throw new Error(
      `the mutation tester ended with ${code} over ${file}:\n${Buffer.concat(said).toString().slice(-4000)}`,
    );
  }
  return parseMutationReport(file, JSON.parse(await readFile(report, 'utf8')) as MutationReport);
}

/** As in the mutation testing report schema, version 2: what we read of it. */
export interface MutationReport {
  readonly files: Readonly<Record<string, { readonly mutants: readonly Mutant[] }>>;
}

interface Mutant {
  readonly mutatorName: string;
  readonly replacement?: string;
  readonly location: { readonly start: { readonly line: number } };
  readonly status: string;
}

/** Counts what the report says of `file`. Mutants that no test reaches have survived; those that do not even load do not count. */
export function parseMutationReport(file: string, report: MutationReport): MutationResult {
  const mutants = report.files[file]?.mutants ?? [];
  const withStatus = (...statuses: readonly string[]) => mutants.filter(({ status }) => statuses.includes(status));
  return {
    file,
    killed: withStatus('Killed').length,
    timedOut: withStatus('Timeout').length,
    survivors: withStatus('Survived', 'NoCoverage').map(({ mutatorName, replacement, location }) => ({
      line: location.start.line,
      what: `${mutatorName}: ${(replacement ?? '').replaceAll(/\s+/g, ' ').slice(0, 100)}`,
    })),
  };
}
