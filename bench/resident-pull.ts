/**
 * Started by the benchmark: pulls an image that is there already, again and again in one process, as the node agent does,
 * and says what the median pull cost.
 *
 *   node bench/resident-pull.ts REPOSITORY HOST IMAGE
 */
import { ociArchitecture } from '../node-agent/index.ts';
import { pullImage, Repository } from '../ostree/index.ts';
import { openImageSource, parseOstreeImageReference } from '../registry/index.ts';
import { medianCost } from './import-table.ts';
import type { Cost } from './measured-process.ts';

/** Until the code is compiled. */
const WARM_UPS = 20;
const PULLS = 51;

const [path = '', host = '', image = ''] = process.argv.slice(2);
const reference = parseOstreeImageReference(`ostree-unverified-registry:${host}/${image}`);

async function pull(): Promise<Cost> {
  const cpu = process.cpuUsage();
  const started = performance.now();
  // Everything anew, connection and all: between two looks of an agent lie minutes.
  await using source = openImageSource(reference.image, { plainHttpHosts: [host] });
  const repository = Repository.open(path);
  const pulled = await pullImage({
    repository,
    source,
    reference,
    platform: { os: 'linux', architecture: ociArchitecture() },
  });
  if (!pulled.alreadyPresent) throw new Error(`${image} was not in ${path}`);
  const wallSeconds = (performance.now() - started) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  const resident = process.memoryUsage().rss;
  return { wallSeconds, cpuSeconds: (user + system) / 1e6, peakBytes: resident, peakProportionalBytes: Number.NaN };
}

const costs: Cost[] = [];
for (let turn = 0; turn < WARM_UPS + PULLS; turn++) costs.push(await pull());
process.stdout.write(JSON.stringify(medianCost(costs.slice(WARM_UPS))));
