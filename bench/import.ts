/**
 * `npm run bench:import`: our `image pull` against the peer's, on the same images, from the same registry, on disks of
 * the same making, in turns. Needs root, for the disks.
 *
 *   --scenario A,B   of single, chunked, check, agent, update, derived (default: all)
 *   --runs N         of which the medians count (default 3)
 *   --size MB        of the operating system (default 900)      --files N        in it (default 20000)
 *   --only NAME      treeline or ostree-ext alone               --skip-wire      do not count bytes: half the time
 *   --output json    every run's numbers
 */
import { loadavg } from 'node:os';
import { parseArgs } from 'node:util';
import { startRegistry } from '../testbed/registry.ts';
import { ensureAll, ensurePeer, sayOnStandardError as say } from '../tools/setup/index.ts';
import { CONTENDER_NAMES, peerContender, treelineContender } from './contender.ts';
import { ensureImages } from './images.ts';
import { renderImportTable } from './import-table.ts';
import { readIntoPageCache } from './page-cache.ts';
import { runRace } from './race.ts';
import { parseScenarios, SCENARIO_NAMES } from './scenario.ts';
import { makeShippedBundle } from './shipped-bundle.ts';

/** Above this somebody else is at work, and the numbers are of little use. */
const QUIET_LOAD = 0.5;
/** A repository with an update in it, its metadata and the journal, as a multiple of the operating system. */
const DISK_SHARE = 2.5;
const DISK_MINIMUM_BYTES = 1e9;

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      scenario: { type: 'string', default: SCENARIO_NAMES.join(',') },
      runs: { type: 'string', default: '3' },
      size: { type: 'string', default: '900' },
      files: { type: 'string', default: '20000' },
      only: { type: 'string' },
      'skip-wire': { type: 'boolean', default: false },
      output: { type: 'string', default: 'table' },
    },
  });
  const wanted = parseScenarios(values.scenario);
  if (values.only !== undefined && !CONTENDER_NAMES.some((name) => name === values.only)) {
    throw new Error(`There is no contender '${values.only}'. Contenders: ${CONTENDER_NAMES.join(', ')}.`);
  }
  const shape = { size: Number(values.size) * 1e6, files: Number(values.files) };
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
    runs: Number(values.runs),
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
