/**
 * `npm run bench:import`: our `image pull` against the peer's, on the same images, from the same registry, on disks of
 * the same making, in turns. Needs root, for the disks.
 */
import { loadavg } from 'node:os';
import { startRegistry } from '../testbed/registry.ts';
import { OUTPUT, readFlags } from '../tools/script-flags.ts';
import { ensureAll, ensurePeer, sayOnStandardError as say } from '../tools/setup/index.ts';
import { CONTENDER_NAMES, peerContender, treelineContender } from './contender.ts';
import { ensureImages } from './images.ts';
import { renderImportTable } from './import-table.ts';
import { readIntoPageCache } from './page-cache.ts';
import { runRace } from './race.ts';
import { SCENARIO_NAMES } from './scenario.ts';
import { shapeOf, sizeFlags } from './shape-flags.ts';
import { makeShippedBundle } from './shipped-bundle.ts';

/** Above this somebody else is at work, and the numbers are of little use. */
const QUIET_LOAD = 0.5;
/** A repository with an update in it, its metadata and the journal, as a multiple of the operating system. */
const DISK_SHARE = 2.5;
const DISK_MINIMUM_BYTES = 1e9;

const SCRIPT = {
  command: 'npm run bench:import',
  does: `Runs our \`image pull\` against the peer's: the same images, the same registry, disks of the same making, in turns.
Needs root, for the disks.`,
  flags: {
    scenario: { kind: 'some', of: SCENARIO_NAMES, says: 'what is pulled' },
    runs: { kind: 'number', says: 'runs, of which the medians count', default: 3 },
    ...sizeFlags(900, 20_000),
    only: { kind: 'one', of: CONTENDER_NAMES, says: 'one contender alone' },
    'skip-wire': { kind: 'switch', says: 'do not count bytes: half the time' },
    output: OUTPUT,
  },
} as const;

async function main(): Promise<void> {
  const { values } = readFlags(SCRIPT);
  const wanted = new Set(values.scenario);
  const shape = shapeOf(values);
  await ensureAll(say, ['bench']);
  const peer = await ensurePeer(say);
  const images = await ensureImages(peer, shape, say);
  const [load = 0] = loadavg();
  if (load > QUIET_LOAD) say(`The machine is busy (load ${load.toFixed(1)}): compare these numbers with nothing.`);

  await using shipped = await makeShippedBundle();
  await using registry = await startRegistry({ storage: images.storage });
  await readIntoPageCache(images.storage);
  const results = await runRace({
    contenders: [treelineContender(shipped), peerContender(peer)].filter(
      ({ name }) => values.only === undefined || name === values.only,
    ),
    wanted,
    runs: values.runs,
    countWire: !values['skip-wire'],
    host: registry.host,
    diskBytes: Math.max(DISK_MINIMUM_BYTES, DISK_SHARE * shape.size),
    say,
  });
  process.stdout.write(
    values.output === 'json'
      ? `${JSON.stringify({ shape, load, results }, undefined, 2)}\n`
      : renderImportTable(results),
  );
}

await main();
