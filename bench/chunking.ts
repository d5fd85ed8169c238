/**
 * `npm run bench:chunking`: what a node pulls, step by step, of a real Debian that is updated: the kernel alone, a security
 * update, a big one. Each step is pulled into a repository that has the version before, through a proxy that counts.
 */
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { startRegistry, type TestRegistry } from '../testbed/registry.ts';
import { OUTPUT, readFlags } from '../tools/script-flags.ts';
import { runCommand } from '../tools/setup/command.ts';
import { ensureAll, sayOnStandardError as say } from '../tools/setup/index.ts';
import { compressedSizeOfChanges } from './changed-files.ts';
import { CHUNKING_NAMES, CHUNKINGS, type ChunkingName, renderChunking, type StepResult } from './chunking-table.ts';
import { type CountingProxy, startCountingProxy } from './counting-proxy.ts';
import { makeFreshDisk } from './fresh-disk.ts';
import { ensurePackageHistory, type PackageHistory } from './package-history.ts';
import { makeShippedBundle } from './shipped-bundle.ts';

/** Images and repositories of all contenders; the disk is a sparse file. */
const DISK_BYTES = 40e9;

interface Bench {
  readonly history: PackageHistory;
  /** Treeline's entry point. */
  readonly entry: string;
  readonly registry: TestRegistry;
  readonly proxy: CountingProxy;
  readonly maxLayers: string;
  readonly work: string;
}

const SCRIPT = {
  command: 'npm run bench:chunking',
  does: `Counts what a node pulls, step by step, of a real Debian that is updated: the configuration alone, the kernel alone, a security
update, a big one. Needs root.`,
  flags: {
    only: { kind: 'some', of: CHUNKING_NAMES, says: 'ways to make layers' },
    'max-layers': { kind: 'number', says: 'beside the one of the commit', default: 64 },
    output: OUTPUT,
  },
} as const;

async function main(): Promise<void> {
  const { values } = readFlags(SCRIPT);
  const names = values.only;
  await ensureAll(say, ['bench']);
  const history = await ensurePackageHistory(say);
  await using shipped = await makeShippedBundle();
  await using disk = await makeFreshDisk(DISK_BYTES);
  await using registry = await startRegistry({ storage: join(disk.path, 'registry') });
  await using proxy = await startCountingProxy(registry.host);
  const bench: Bench = {
    history,
    entry: shipped.entry,
    registry,
    proxy,
    maxLayers: String(values['max-layers']),
    work: join(disk.path, 'work'),
  };
  await mkdir(bench.work);
  const wire = new Map<ChunkingName, readonly number[]>();
  for (const name of names) wire.set(name, await pulls(name, bench));
  const results: StepResult[] = [];
  for (const [index, { branch, title }] of history.versions.entries()) {
    const floor = await compressedSizeOfChanges(history.path, history.versions[index - 1]?.branch, branch);
    const bytes = Object.fromEntries(Array.from(wire, ([name, counts]) => [name, counts[index] ?? Number.NaN]));
    results.push({ step: title, first: index === 0, floor, bytes });
  }
  process.stdout.write(
    values.output === 'json' ? `${JSON.stringify(results, undefined, 2)}\n` : renderChunking(names, results),
  );
}

/** Bytes over the wire for each version, one after the other into one repository. */
async function pulls(name: ChunkingName, bench: Bench): Promise<readonly number[]> {
  const { history, registry, proxy, work, entry } = bench;
  const { title } = CHUNKINGS[name];
  const repository = join(work, `node-${name}`);
  await runCommand('ostree', [`--repo=${repository}`, 'init', '--mode=bare']);
  const counts: number[] = [];
  let previous: string | undefined;
  for (const { branch } of history.versions) {
    say(`${title}: ${branch}`);
    previous = await layoutOf(name, branch, previous, bench);
    const copy = ['--insecure-policy', 'copy', '--quiet', '--preserve-digests', '--dest-tls-verify=false'];
    await runCommand('skopeo', [...copy, `oci:${previous}`, `docker://${registry.host}/${name}:${branch}`]);
    proxy.takeCount();
    const reference = `ostree-unverified-registry:${proxy.host}/${name}:${branch}`;
    const flags = ['--plain-http', proxy.host, '--repo', repository];
    await runCommand(process.execPath, [entry, 'image', 'pull', ...flags, reference]);
    counts.push(proxy.takeCount());
  }
  await rm(repository, { recursive: true });
  return counts;
}

/** Path of the image of a branch. */
async function layoutOf(
  name: ChunkingName,
  branch: string,
  previous: string | undefined,
  { history, entry, maxLayers, work }: Bench,
): Promise<string> {
  const { chunking, compression } = CHUNKINGS[name];
  const layout = join(work, `${name}-${branch}`);
  const limits = chunking === 'none' ? [] : ['--max-layers', maxLayers];
  if (chunking !== 'none' && previous !== undefined) limits.push('--previous', `oci:${previous}`);
  const flags = ['--repo', history.path, '--chunking', chunking, '--compression', compression, ...limits];
  await runCommand(process.execPath, [entry, 'encapsulate', ...flags, branch, `oci:${layout}`]);
  return layout;
}

await main();
