/**
 * `npm run bench:memory`: the peak memory of everything that our `image pull` starts, at 900 MB, at 5 GB of many files, and
 * at 5 GB in one layer, against the limit. Ends with 1 when a pull needs more. Needs root and 20 GB of disk for a while.
 */
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startRegistry } from '../testbed/registry.ts';
import { OUTPUT, readFlags } from '../tools/script-flags.ts';
import { runCommand } from '../tools/setup/command.ts';
import { ensureAll, ensurePeer, sayOnStandardError as say } from '../tools/setup/index.ts';
import { type Contender, treelineContender } from './contender.ts';
import { commit, encapsulate, initialiseRepository } from './encapsulation.ts';
import { makeFreshDisk } from './fresh-disk.ts';
import { ensureImages, IMAGES } from './images.ts';
import { renderTable } from './import-table.ts';
import { type Cost, measure } from './measured-process.ts';
import { type TreeShape, writeTree } from './os-tree.ts';
import { makeShippedBundle } from './shipped-bundle.ts';

const CASES = ['900-chunked', '900-single', 'large-chunked', 'large-single'] as const;
type Case = (typeof CASES)[number];
const ORDINARY: TreeShape = { size: 900e6, files: 20_000 };

interface MemoryResult extends Cost {
  readonly title: string;
}

const SCRIPT = {
  command: 'npm run bench:memory',
  does: `Measures the peak memory of everything that our \`image pull\` starts. Ends with 1 when a pull needs more than the limit.
Needs root, and 20 GB of disk for a while.`,
  flags: {
    case: { kind: 'some', of: CASES, says: 'what is pulled' },
    large: { kind: 'number', takes: 'MB', says: 'size of the large operating system', default: 5000 },
    files: { kind: 'number', says: 'files in it', default: 100_000 },
    limit: { kind: 'number', takes: 'MB', says: 'what a pull may need', default: 256 },
    output: OUTPUT,
  },
} as const;

async function main(): Promise<void> {
  const { values } = readFlags(SCRIPT);
  const names = values.case;
  const large: TreeShape = { size: values.large * 1e6, files: values.files };
  await ensureAll(say, ['bench']);
  const peer = await ensurePeer(say);
  await using shipped = await makeShippedBundle();
  const treeline = treelineContender(shipped);
  const results = [
    ...(await measureOrdinary(treeline, peer, names)),
    ...(await measureLarge(treeline, peer, names, large)),
  ];
  const limit = values.limit * 1e6;
  process.stdout.write(
    values.output === 'json' ? `${JSON.stringify({ limit, results }, undefined, 2)}\n` : render(results, limit),
  );
  if (results.some(({ peakBytes }) => peakBytes > limit)) process.exitCode = 1;
}

async function measureOrdinary(
  treeline: Contender,
  peer: string,
  names: readonly Case[],
): Promise<readonly MemoryResult[]> {
  const wanted = (['chunked', 'single'] as const).filter((kind) => names.includes(`900-${kind}`));
  if (wanted.length === 0) return [];
  const images = await ensureImages(peer, ORDINARY, say);
  await using registry = await startRegistry({ storage: images.storage });
  const results: MemoryResult[] = [];
  for (const kind of wanted)
    results.push(await pull(treeline, describe(ORDINARY, kind), registry.host, IMAGES[kind], ORDINARY));
  return results;
}

/** The large images are not kept: they take longer to store than to make. */
async function measureLarge(
  treeline: Contender,
  peer: string,
  names: readonly Case[],
  shape: TreeShape,
): Promise<readonly MemoryResult[]> {
  const wanted = (['chunked', 'single'] as const).filter((kind) => names.includes(`large-${kind}`));
  if (wanted.length === 0) return [];
  const work = await mkdtemp(join(tmpdir(), 'treeline-memory-'));
  await using cleanup = new AsyncDisposableStack();
  cleanup.defer(async () => rm(work, { recursive: true }));
  // Deleting 200,000 files one by one would take longer than all the rest.
  const disk = cleanup.use(await makeFreshDisk(3 * shape.size));
  const repository = join(disk.path, 'repo');
  const tree = join(disk.path, 'tree');
  say(`making an operating system of ${shape.files} files and ${Math.round(shape.size / 1e6)} MB`);
  await mkdir(tree);
  writeTree(tree, shape);
  await initialiseRepository(repository);
  await commit(repository, tree, 'large');
  const results: MemoryResult[] = [];
  for (const kind of wanted) {
    const storage = join(work, `registry-${kind}`);
    await using registry = await startRegistry({ storage });
    const { host } = registry;
    const image = `bench/large-${kind}:1`;
    say(`encapsulating ${image}`);
    await encapsulate({
      peer,
      repository,
      branch: 'large',
      host,
      image,
      chunked: kind === 'chunked',
      fast: true,
      work,
    });
    results.push(await pull(treeline, describe(shape, kind), host, image, shape));
    await registry.stop();
    await rm(storage, { recursive: true });
  }
  return results;
}

function describe(shape: TreeShape, kind: 'chunked' | 'single'): string {
  const size = shape.size >= 1e9 ? `${shape.size / 1e9} GB` : `${shape.size / 1e6} MB`;
  return `${size}, ${shape.files} files, ${kind === 'single' ? '1 layer' : '60 layers'}`;
}

async function pull(
  treeline: Contender,
  title: string,
  host: string,
  image: string,
  shape: TreeShape,
): Promise<MemoryResult> {
  say(`pulling ${title}`);
  await using disk = await makeFreshDisk(1.5 * shape.size + 1e9);
  const repository = join(disk.path, 'repo');
  await initialiseRepository(repository);
  await runCommand('sync', []);
  const cost = await measure(treeline.command, treeline.parameters(repository, host, image));
  // The next image takes minutes to make; this much is known.
  say(`${title}: ${(cost.peakBytes / 1e6).toFixed(0)} MB at most, ${cost.wallSeconds.toFixed(1)} s`);
  return { title, ...cost };
}

function render(results: readonly MemoryResult[], limit: number): string {
  const megabytes = (bytes: number): string => (bytes / 1e6).toFixed(0);
  return renderTable(
    ['', 'wall s', 'peak MB', 'PSS MB', 'limit MB', 'within'],
    results.map(({ title, wallSeconds, peakBytes, peakProportionalBytes }) => [
      title,
      wallSeconds.toFixed(1),
      megabytes(peakBytes),
      megabytes(peakProportionalBytes),
      megabytes(limit),
      peakBytes <= limit ? 'yes' : 'no',
    ]),
  );
}

await main();
