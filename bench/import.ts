/**
 * `npm run bench:import`: our `image pull` against the peer's, on the same images, from the same registry, on the same
 * disk, in turns.
 *
 *   --size MB      of the operating system (default 900)      --files N    in it (default 20000)
 *   --runs N       of which the median counts (default 3)     --output json
 */
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { type TestRegistry, startRegistry } from '../testbed/registry.ts';
import { ensureAll, ensurePeer, sayOnStandardError } from '../tools/setup/index.ts';
import { startCountingProxy } from './counting-proxy.ts';
import { makeFreshDisk } from './fresh-disk.ts';
import { ensureImages, IMAGES } from './images.ts';
import { type Cost, measure } from './measured-process.ts';
import { medianCost, renderTable, type ScenarioResult } from './import-table.ts';

interface Contender {
  readonly name: 'treeline' | 'ostree-ext';
  readonly command: string;
  parameters(repository: string, host: string, image: string): readonly string[];
}

type Scenario = 'single' | 'chunked' | 'update';
const TITLES: Readonly<Record<Scenario, string>> = {
  single: 'cold, single layer',
  chunked: 'cold, 31 layers',
  update: 'kernel-only update',
};

const treeline: Contender = {
  name: 'treeline',
  command: fileURLToPath(new URL('../bin/treeline', import.meta.url)),
  parameters: (repository, host, image) => [
    'image',
    'pull',
    '--plain-http',
    host,
    '--repo',
    repository,
    `ostree-unverified-registry:${host}/${image}`,
  ],
};

function peerContender(command: string): Contender {
  return {
    name: 'ostree-ext',
    command,
    parameters: (repository, host, image) => [
      'container',
      'image',
      'pull',
      '--insecure-skip-tls-verification',
      '--quiet',
      repository,
      `ostree-unverified-registry:${host}/${image}`,
    ],
  };
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      size: { type: 'string', default: '900' },
      files: { type: 'string', default: '20000' },
      runs: { type: 'string', default: '3' },
      output: { type: 'string', default: 'table' },
    },
  });
  const shape = { size: Number(values.size) * 1e6, files: Number(values.files) };
  await ensureAll(sayOnStandardError, ['bench']);
  const peer = await ensurePeer(sayOnStandardError);
  const images = await ensureImages(peer, shape, sayOnStandardError);
  await using registry = await startRegistry({ storage: images.storage });
  const runs = Number(values.runs);
  // Every run writes into new repositories, and nothing is deleted until the end.
  await using disk = await makeFreshDisk((runs + 2) * 6 * shape.size);
  const results = await race([treeline, peerContender(peer)], registry, disk.path, runs);
  process.stdout.write(
    values.output === 'json' ? `${JSON.stringify({ shape, results }, undefined, 2)}\n` : renderTable(results),
  );
}

async function race(
  contenders: readonly Contender[],
  registry: TestRegistry,
  work: string,
  runs: number,
): Promise<readonly ScenarioResult[]> {
  const costs = new Map<string, Cost[]>();
  const wire = new Map<string, number>();
  await using proxy = await startCountingProxy(registry.host);
  // The first round goes through the counting proxy and is not timed; it also warms the page cache for both.
  for (let round = 0; round <= runs; round++) {
    const counted = round === 0;
    const host = counted ? proxy.host : registry.host;
    for (const contender of contenders) {
      const at = (name: string): string => join(work, `${round}-${contender.name}-${name}`);
      const pull = async (scenario: Scenario, repository: string): Promise<void> => {
        sayOnStandardError(`${counted ? 'counting bytes' : `run ${round}`}: ${contender.name}, ${TITLES[scenario]}`);
        await measure('sync', []);
        const cost = await measure(contender.command, contender.parameters(repository, host, IMAGES[scenario]));
        const key = `${scenario} ${contender.name}`;
        if (counted) wire.set(key, proxy.takeCount());
        else costs.set(key, [...(costs.get(key) ?? []), cost]);
      };
      for (const scenario of ['single', 'chunked'] as const) {
        await measure('ostree', [`--repo=${at(scenario)}`, 'init', '--mode=bare']);
        await pull(scenario, at(scenario));
      }
      await pull('update', at('chunked'));
    }
  }
  return (['single', 'chunked', 'update'] as const).map((scenario) => ({
    title: TITLES[scenario],
    contenders: contenders.map(({ name }) => ({
      name,
      ...medianCost(costs.get(`${scenario} ${name}`) ?? []),
      wireBytes: wire.get(`${scenario} ${name}`) ?? 0,
    })),
  }));
}

await main();
