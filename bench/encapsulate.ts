/**
 * `npm run bench:encapsulate`: what it costs to make an image of a commit, next to the peer: the same repository, the same
 * division into layers, gzip at the same level, an OCI layout on the same disk. And of an update: the same system with another
 * kernel, of which ours knows the image before (`--previous`), while the peer makes all of it again. In turns, so that whatever
 * else the machine does hits all of them; of each the median. With `--repo` and `--ref` it is a commit that is there, in the layers
 * that ours divides it into, without an update. Needs root and five times the size in disk space for a while.
 */
import { mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { OUTPUT, readFlags } from '../tools/script-flags.ts';
import { ensureAll, ensurePeer, sayOnStandardError as say } from '../tools/setup/index.ts';
import { commit, initialiseRepository, writeContentMeta } from './encapsulation.ts';
import { medianCost, renderTable } from './import-table.ts';
import { type Cost, measure } from './measured-process.ts';
import { kernelBytes, type TreeShape, writeKernel, writeTree } from './os-tree.ts';
import { shapeOf, sizeFlags } from './shape-flags.ts';
import { makeShippedBundle } from './shipped-bundle.ts';

interface Way {
  readonly title: string;
  readonly command: string;
  readonly parameters: readonly string[];
  /** What it is compared with. */
  readonly against?: string;
}

interface Result extends Cost {
  readonly title: string;
  readonly imageBytes: number;
  readonly against: string | undefined;
}

const SCRIPT = {
  command: 'npm run bench:encapsulate',
  does: `Makes images of one commit in turns with the peer, and of an update of it. Needs root, and five times the size in disk space
for a while.`,
  flags: {
    ...sizeFlags(500, 13_000),
    repo: { kind: 'text', takes: 'PATH', says: 'OSTree repository with a commit to make images of' },
    ref: { kind: 'text', takes: 'REF', says: 'the commit in it' },
    rounds: { kind: 'number', says: 'rounds, of which the medians count', default: 3 },
    output: OUTPUT,
  },
} as const;

async function main(): Promise<void> {
  const { values } = readFlags(SCRIPT);
  await ensureAll(say, ['bench']);
  const peer = await ensurePeer(say);
  await using shipped = await makeShippedBundle();
  const work = await mkdtemp(join(tmpdir(), 'treeline-encapsulate-'));
  try {
    const { repo, ref } = values;
    const tools = { peer, entry: shipped.entry };
    const course =
      repo === undefined || ref === undefined
        ? await makeCourse(tools, shapeOf(values), work)
        : await existingCourse(tools, repo, ref, work);
    const ways = waysOf(course);
    const results = await race(ways, values.rounds, join(work, 'image'));
    process.stdout.write(values.output === 'json' ? `${JSON.stringify(results, undefined, 2)}\n` : render(results));
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

interface Tools {
  /** The peer's program, and ours. */
  readonly peer: string;
  readonly entry: string;
}

interface Course extends Tools {
  readonly repository: string;
  readonly ref: string;
  /** Division of the commit. */
  readonly contentMeta: string;
  readonly update?: {
    readonly ref: string;
    readonly contentMeta: string;
    /** The image of the commit before it. */
    readonly before: string;
  };
}

async function makeCourse(tools: Tools, shape: TreeShape, work: string): Promise<Course> {
  const [tree, repository] = [join(work, 'tree'), join(work, 'repo')];
  say('Committing an operating system.');
  writeTree(tree, shape);
  await initialiseRepository(repository);
  await commit(repository, tree, 'os');
  writeKernel(tree, kernelBytes(shape), '6.1.0-2');
  await commit(repository, tree, 'update');
  await rm(tree, { recursive: true });
  const contentMeta = await writeContentMeta(repository, 'os', work);
  const before = `oci:${join(work, 'before')}:image`;
  const encapsulateBefore = ['encapsulate', '--repo', repository, '--contentmeta', contentMeta, 'os', before];
  await measure(process.execPath, [tools.entry, ...encapsulateBefore]);
  const updateMeta = await writeContentMeta(repository, 'update', work);
  return { ...tools, repository, ref: 'os', contentMeta, update: { ref: 'update', contentMeta: updateMeta, before } };
}

async function existingCourse(tools: Tools, repository: string, ref: string, work: string): Promise<Course> {
  say('Dividing the commit among layers.');
  const contentMeta = join(work, 'contentmeta.json');
  const layout = join(work, 'divided');
  const flags = ['--repo', repository, '--write-contentmeta', contentMeta, '--compression-fast'];
  await measure(process.execPath, [tools.entry, 'encapsulate', ...flags, ref, `oci:${layout}:image`]);
  await rm(layout, { recursive: true });
  return { ...tools, repository, ref, contentMeta };
}

function waysOf({ peer, entry, repository, ref, contentMeta, update }: Course): readonly Way[] {
  const theirs = ['container', 'encapsulate', '--repo', repository];
  const ours = [entry, 'encapsulate', '--repo', repository];
  const chunks = ['--contentmeta', contentMeta];
  const [single, layers, fast, again] = [
    'the peer, one layer',
    'the peer, in layers',
    'the peer, in layers, fast',
    'the peer, another kernel',
  ];
  const node = process.execPath;
  const ways: Way[] = [
    { title: single, command: peer, parameters: [...theirs, ref] },
    { title: 'treeline, one layer', command: node, parameters: [...ours, '--chunking', 'none', ref], against: single },
    { title: layers, command: peer, parameters: [...theirs, ...chunks, ref] },
    { title: 'treeline, in layers', command: node, parameters: [...ours, ...chunks, ref], against: layers },
    { title: fast, command: peer, parameters: [...theirs, ...chunks, '--compression-fast', ref] },
    {
      title: 'treeline, in layers, fast',
      command: node,
      parameters: [...ours, ...chunks, '--compression-fast', ref],
      against: fast,
    },
    ...['zstd', 'zstd:chunked'].map((format) => ({
      title: `treeline, in layers, ${format}`,
      command: node,
      parameters: [...ours, ...chunks, '--compression', format, ref],
      against: layers,
    })),
  ];
  if (update === undefined) return ways;
  const updateChunks = ['--contentmeta', update.contentMeta];
  return [
    ...ways,
    { title: again, command: peer, parameters: [...theirs, ...updateChunks, update.ref] },
    {
      title: 'treeline, another kernel',
      command: node,
      parameters: [...ours, ...updateChunks, '--previous', update.before, update.ref],
      against: again,
    },
  ];
}

/** @param layout is made and removed each time */
async function race(ways: readonly Way[], rounds: number, layout: string): Promise<readonly Result[]> {
  const costs = new Map<string, Cost[]>();
  const sizes = new Map<string, number>();
  for (let round = 1; round <= rounds; round++) {
    for (const { title, command, parameters } of ways) {
      say(`Round ${round} of ${rounds}: ${title}.`);
      const cost = await measure(command, [...parameters, `oci:${layout}:image`]);
      costs.set(title, [...(costs.get(title) ?? []), cost]);
      sizes.set(title, await sizeOf(join(layout, 'blobs/sha256')));
      await rm(layout, { recursive: true });
    }
  }
  return ways.map(({ title, against }) => ({
    title,
    against,
    imageBytes: sizes.get(title) ?? 0,
    ...medianCost(costs.get(title) ?? []),
  }));
}

async function sizeOf(directory: string): Promise<number> {
  const files = await Promise.all((await readdir(directory)).map((name) => stat(join(directory, name))));
  return files.reduce((sum, { size }) => sum + size, 0);
}

function render(results: readonly Result[]): string {
  const rows = results.map(({ title, against, wallSeconds, cpuSeconds, peakBytes, imageBytes }) => {
    const other = results.find((result) => result.title === against);
    const ratio = other === undefined ? '' : `${(other.wallSeconds / wallSeconds).toFixed(2)}×`;
    const numbers = [wallSeconds.toFixed(1), ratio, cpuSeconds.toFixed(1)];
    return [title, ...numbers, (peakBytes / 1e6).toFixed(0), (imageBytes / 1e6).toFixed(1)];
  });
  return renderTable(['', 'wall s', 'faster', 'CPU s', 'peak MB', 'image MB'], rows);
}

await main();
