/**
 * `npm run bench:floor`: how far our `image pull`, and the peer's, is from the least that any importer has to do with the same
 * image: inflate, the digests that must be computed (blobs and objects), files written and synced, on all cores. And how far
 * from that with the registry and the disk's threads on the same cores, which is what no importer can get below here.
 */
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { mkdir } from 'node:fs/promises';
import { startRegistry, type TestRegistry } from '../testbed/registry.ts';
import { OUTPUT, readFlags } from '../tools/script-flags.ts';
import { runCommand } from '../tools/setup/command.ts';
import { ensureAll, ensurePeer, sayOnStandardError as say } from '../tools/setup/index.ts';
import { type Contender, peerContender, treelineContender } from './contender.ts';
import { type Bound, type Component, digest, fetchBlobs, inflate, lowerBound, writeFiles } from './floor-components.ts';
import { makeFreshDisk } from './fresh-disk.ts';
import { readImageContent } from './image-content.ts';
import { ensureImages } from './images.ts';
import { renderTable } from './import-table.ts';
import { type Cost, measure } from './measured-process.ts';
import { readIntoPageCache } from './page-cache.ts';
import { type ScenarioName, SCENARIOS } from './scenario.ts';
import { shapeOf, sizeFlags } from './shape-flags.ts';
import { makeShippedBundle } from './shipped-bundle.ts';

interface FloorResult {
  readonly scenario: ScenarioName;
  readonly components: readonly Component[];
  readonly bound: Bound;
  readonly pulls: readonly { readonly name: string; readonly cost: Cost }[];
}

const SCRIPT = {
  command: 'npm run bench:floor',
  does: `Shows how far our \`image pull\` and the peer's are from the least that any importer has to do with the same image.
Needs root.`,
  flags: {
    scenario: { kind: 'some', of: ['single', 'chunked'], says: 'what is pulled' },
    runs: { kind: 'number', says: 'runs, of which the fastest counts', default: 3 },
    ...sizeFlags(900, 20_000),
    output: OUTPUT,
  },
} as const;

async function main(): Promise<void> {
  const { values } = readFlags(SCRIPT);
  const shape = shapeOf(values);
  await ensureAll(say, ['bench']);
  const peer = await ensurePeer(say);
  const images = await ensureImages(peer, shape, say);
  await using shipped = await makeShippedBundle();
  const contenders = [treelineContender(shipped), peerContender(peer)];
  await using registry = await startRegistry({ storage: images.storage });
  await readIntoPageCache(images.storage);
  const results: FloorResult[] = [];
  for (const scenario of values.scenario) {
    results.push(await measureFloor(scenario, contenders, registry, images.storage, values.runs, 2.5 * shape.size));
  }
  process.stdout.write(
    values.output === 'json' ? `${JSON.stringify(results, undefined, 2)}\n` : results.map(render).join('\n'),
  );
}

async function measureFloor(
  scenario: ScenarioName,
  contenders: readonly Contender[],
  registry: TestRegistry,
  storage: string,
  runs: number,
  diskBytes: number,
): Promise<FloorResult> {
  const { image, title } = SCENARIOS[scenario];
  const cores = availableParallelism();
  say(`reading what is in ${image}`);
  const layers = await readImageContent(registry.url, storage, image);
  const objects = layers.flatMap((layer) => layer.objects);
  const blobs = layers.map(({ compressed }) => compressed);
  const rounds: (readonly Component[])[] = [];
  const costs = contenders.map((): Cost[] => []);
  const server = { ...registry, repository: image.slice(0, image.indexOf(':')) };
  for (let run = 1; run <= runs; run++) {
    say(`run ${run} of ${runs}: ${title}`);
    rounds.push([
      await inflate(layers, cores),
      await digest('SHA-256 of blobs', blobs, cores),
      await digest('SHA-256 of objects', objects, cores),
      ...(await onFreshDisk(diskBytes, async (disk) => writeFiles(disk, objects, cores))),
      ...(await fetchBlobs(layers, server, cores)),
    ]);
    for (const [index, contender] of contenders.entries()) {
      costs[index]?.push(
        await onFreshDisk(diskBytes, async (disk) => {
          const repository = join(disk, 'repo');
          await runCommand('ostree', [`--repo=${repository}`, 'init', '--mode=bare']);
          return measure(contender.command, contender.parameters(repository, registry.host, image));
        }),
      );
    }
  }
  const components = (rounds[0] ?? []).map((_, index) => fastest(rounds.flatMap((round) => round[index] ?? [])));
  const pulls = contenders.map(({ name }, index) => ({ name, cost: fastest(costs[index] ?? []) }));
  return { scenario, components, bound: lowerBound(components, cores), pulls };
}

/** The floor is what is possible, so the fastest counts, of the pulls too. */
function fastest<T extends { readonly wallSeconds: number }>(values: readonly T[]): T {
  return values.reduce((best, one) => (one.wallSeconds < best.wallSeconds ? one : best));
}

async function onFreshDisk<T>(bytes: number, work: (directory: string) => Promise<T>): Promise<T> {
  await using disk = await makeFreshDisk(bytes);
  const directory = join(disk.path, 'work');
  await mkdir(directory);
  // What others left to be written is not ours to wait for.
  await runCommand('sync', []);
  return await work(directory);
}

function render({ scenario, components, bound, pulls }: FloorResult): string {
  const row = (name: string, wall: number | undefined, cpu?: number, bytes?: number): readonly string[] => [
    `${SCENARIOS[scenario].title}: ${name}`,
    wall?.toFixed(2) ?? '',
    cpu?.toFixed(2) ?? '',
    bytes === undefined ? '' : (bytes / 1e6).toFixed(0),
    wall === undefined ? '' : `${(wall / bound.seconds).toFixed(2)}×`,
    wall === undefined ? '' : `${(wall / bound.sharedSeconds).toFixed(2)}×`,
  ];
  return renderTable(
    ['', 'wall s', 'CPU s', 'MB', 'of floor', 'of shared floor'],
    [
      ...components.map(({ name, bytes, cpuSeconds, wallSeconds, isBeside }) =>
        row(name, isBeside === true ? undefined : wallSeconds, cpuSeconds, bytes),
      ),
      row('all CPU over the cores', bound.cpuSeconds),
      row('the longest layer', bound.chainSeconds),
      row('the disk', bound.diskSeconds),
      row('floor, the largest of the three', bound.seconds),
      row('floor shared with registry and disk', bound.sharedSeconds),
      ...pulls.map(({ name, cost }) => row(`${name} image pull`, cost.wallSeconds, cost.cpuSeconds)),
    ],
  );
}

await main();
