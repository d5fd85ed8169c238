/**
 * `npm run bench:import`: our `image pull` against the peer's, on the same images, from the same registry, on disks of
 * the same making, in turns; and our import confined as agents have it against the same in one process. Needs root.
 */
import { loadavg } from 'node:os';
import { startRegistry } from '../testbed/registry.ts';
import { OUTPUT, readFlags } from '../tools/script-flags.ts';
import { ensureAll, ensurePeer, sayOnStandardError as say } from '../tools/setup/index.ts';
import { agentContender, BARE_NODE, CONTENDER_NAMES, peerContender, treelineContender } from './contender.ts';
import { ensureImages } from './images.ts';
import { renderImportTable, type ScenarioResult } from './import-table.ts';
import { type Cost, measure } from './measured-process.ts';
import { readIntoPageCache } from './page-cache.ts';
import { type Race, runRace } from './race.ts';
import { SCENARIO_NAMES, SCENARIOS } from './scenario.ts';
import { shapeOf, sizeFlags } from './shape-flags.ts';
import { makeShippedBundle, type ShippedBundle } from './shipped-bundle.ts';

/** Above this somebody else is at work, and the numbers are of little use. */
const QUIET_LOAD = 0.5;
/** A repository with an update in it, its metadata and the journal, as a multiple of the operating system. */
const DISK_SHARE = 2.5;
const DISK_MINIMUM_BYTES = 1e9;

/** The cold pulls again, as the agent has them done. */
const CONFINED = 'confined';

const SCRIPT = {
  command: 'npm run bench:import',
  does: `Runs our \`image pull\` against the peer's: the same images, the same registry, disks of the same making, in turns.
Needs root, for the disks.`,
  flags: {
    scenario: { kind: 'some', of: [...SCENARIO_NAMES, CONFINED], says: 'what is pulled' },
    runs: { kind: 'number', says: 'runs, of which the medians count', default: 3 },
    ...sizeFlags(900, 20_000),
    only: { kind: 'one', of: CONTENDER_NAMES, says: 'one contender alone' },
    'skip-wire': { kind: 'switch', says: 'do not count bytes: half the time' },
    output: OUTPUT,
  },
} as const;

async function main(): Promise<void> {
  const { values } = readFlags(SCRIPT);
  const shape = shapeOf(values);
  await ensureAll(say, ['bench']);
  const peer = await ensurePeer(say);
  const images = await ensureImages(peer, shape, say);
  const [load = 0] = loadavg();
  if (load > QUIET_LOAD) say(`The machine is busy (load ${load.toFixed(1)}): compare these numbers with nothing.`);

  await using shipped = await makeShippedBundle();
  await using registry = await startRegistry({ storage: images.storage });
  await readIntoPageCache(images.storage);
  const contenders = [treelineContender(shipped), peerContender(peer)];
  const race: Race = {
    contenders: contenders.filter(({ name }) => values.only === undefined || name === values.only),
    wanted: new Set(values.scenario.filter((name) => name !== CONFINED)),
    runs: values.runs,
    countWire: !values['skip-wire'],
    host: registry.host,
    diskBytes: Math.max(DISK_MINIMUM_BYTES, DISK_SHARE * shape.size),
    say,
  };
  const results = [
    ...(await runRace(race)),
    ...(race.wanted.has('check') ? [await startOfNode(values.runs)] : []),
    ...(values.scenario.includes(CONFINED) ? await raceConfined(race, shipped) : []),
  ];
  process.stdout.write(
    values.output === 'json'
      ? `${JSON.stringify({ shape, load, results }, undefined, 2)}\n`
      : renderImportTable(results),
  );
}

/** As often as the check, of which it is a part. */
async function startOfNode(runs: number): Promise<ScenarioResult> {
  const costs: Cost[] = [];
  for (let run = 0; run < runs * SCENARIOS.check.repetitions; run++)
    costs.push(await measure(BARE_NODE.command, BARE_NODE.parameters));
  const contender = { name: BARE_NODE.name, costs, wireBytes: undefined };
  return { scenario: 'start', title: 'nothing at all', contenders: [contender] };
}

async function raceConfined(race: Race, shipped: ShippedBundle): Promise<readonly ScenarioResult[]> {
  const contenders = [agentContender(shipped, 'confined'), agentContender(shipped, 'in-process')];
  const results = await runRace({ ...race, contenders, wanted: new Set(['single', 'chunked']), countWire: false });
  return results.map((one) => ({
    ...one,
    scenario: `${CONFINED} ${one.scenario}`,
    title: `as by the agent, ${one.title}`,
  }));
}

await main();
