/** Lets the contenders pull in turns, each into a repository of its own on a new disk, and notes what it costs. */
import { join } from 'node:path';
import type { Say } from '../tools/setup/say.ts';
import { imageRef } from '../ostree/import/store-refs.ts';
import { parseImageReference } from '../registry/index.ts';
import { runCommand } from '../tools/setup/command.ts';
import type { Contender } from './contender.ts';
import { startCountingProxy } from './counting-proxy.ts';
import { type FreshDisk, makeFreshDisk } from './fresh-disk.ts';
import type { ScenarioResult } from './import-table.ts';
import { type Cost, measure } from './measured-process.ts';
import { type Group, groupScenarios, orderOfTurn, type ScenarioName, SCENARIOS, SCENARIO_NAMES } from './scenario.ts';

export interface Race {
  readonly contenders: readonly Contender[];
  readonly wanted: ReadonlySet<ScenarioName>;
  /** Timed runs. */
  readonly runs: number;
  /** Whether a first round that is not timed goes through a proxy that counts bytes. */
  readonly countWire: boolean;
  /** HOST:PORT of the registry. */
  readonly host: string;
  /** What one repository's disk must hold. */
  readonly diskBytes: number;
  readonly say: Say;
}

/** Results in the order of the scenarios, contenders in their own order. @throws Error when a pull fails. */
export async function runRace(race: Race): Promise<readonly ScenarioResult[]> {
  const costs = new Map<string, Cost[]>();
  const wire = new Map<string, number>();
  const groups = groupScenarios(race.wanted);
  if (race.countWire) {
    await using proxy = await startCountingProxy(race.host);
    for (const group of groups) {
      await runGroup(race, proxy.host, group, 0, async (scenario, contender, repository) => {
        race.say(`counting bytes: ${contender.name}, ${SCENARIOS[scenario].title}`);
        proxy.takeCount();
        await measure(contender.command, contender.parameters(repository, proxy.host, SCENARIOS[scenario].image));
        wire.set(keyOf(scenario, contender), proxy.takeCount());
      });
    }
  }
  for (let run = 0; run < race.runs; run++) {
    for (const group of groups) {
      await runGroup(race, race.host, group, run, async (scenario, contender, repository) => {
        race.say(`run ${run + 1} of ${race.runs}: ${contender.name}, ${SCENARIOS[scenario].title}`);
        // What the one before left to be written must not burden this one.
        await runCommand('sync', []);
        const { image } = SCENARIOS[scenario];
        const cost =
          scenario === 'agent' && contender.resident !== undefined
            ? await contender.resident(repository, race.host, image)
            : await measure(contender.command, contender.parameters(repository, race.host, image));
        const key = keyOf(scenario, contender);
        costs.set(key, [...(costs.get(key) ?? []), cost]);
      });
    }
  }
  return SCENARIO_NAMES.filter((scenario) => race.wanted.has(scenario)).map((scenario) => ({
    scenario,
    title: SCENARIOS[scenario].title,
    contenders: race.contenders.map((contender) => ({
      name: contender.name,
      costs: costs.get(keyOf(scenario, contender)) ?? [],
      wireBytes: wire.get(keyOf(scenario, contender)),
    })),
  }));
}

type Pull = (scenario: ScenarioName, contender: Contender, repository: string) => Promise<void>;

/** Disks live as long as a group does: two at a time, whatever the number of runs. */
async function runGroup(race: Race, host: string, group: Group, run: number, pull: Pull): Promise<void> {
  await using disks = new AsyncDisposableStack();
  const repositories = new Map<Contender, string>();
  for (const contender of race.contenders) {
    const disk: FreshDisk = disks.use(await makeFreshDisk(race.diskBytes));
    const repository = join(disk.path, 'repo');
    await runCommand('ostree', [`--repo=${repository}`, 'init', '--mode=bare']);
    repositories.set(contender, repository);
  }
  for (const scenario of [group.first, ...group.next]) {
    for (let repetition = 0; repetition < SCENARIOS[scenario].repetitions; repetition++) {
      for (const contender of orderOfTurn(race.contenders, run + repetition)) {
        await pull(scenario, contender, repositories.get(contender) ?? '');
      }
    }
    await requireSameTree([...repositories.values()], refOf(host, SCENARIOS[scenario].image));
  }
}

/** A quick wrong answer wins nothing: what a host would boot must be the same, whoever pulled it. */
async function requireSameTree(repositories: readonly string[], ref: string): Promise<void> {
  const roots: string[] = [];
  for (const repository of repositories) {
    // The checksums of the root directory's two objects, into which go those of everything below.
    roots.push((await runCommand('ostree', [`--repo=${repository}`, 'ls', '-d', '-C', ref, '/'])).trim());
  }
  if (new Set(roots).size > 1) throw new Error(`The contenders made different trees of ${ref}:\n${roots.join('\n')}`);
}

function refOf(host: string, image: string): string {
  return imageRef(parseImageReference(`docker://${host}/${image}`));
}

function keyOf(scenario: ScenarioName, contender: Contender): string {
  return `${scenario} ${contender.name}`;
}
