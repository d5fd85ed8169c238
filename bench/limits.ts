/**
 * `npm run bench:limits`: whether the limits of `image pull` hold, and what a neighbour on the same disk feels of a pull
 * with and without them. Ends with 1 when a limit does not hold. Needs root.
 */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { startRegistry } from '../testbed/registry.ts';
import { OUTPUT, readFlags } from '../tools/script-flags.ts';
import { runCommand } from '../tools/setup/command.ts';
import { ensureAll, ensurePeer, sayOnStandardError as say } from '../tools/setup/index.ts';
import { type Contender, treelineContender } from './contender.ts';
import { makeFreshDisk } from './fresh-disk.ts';
import { ensureImages, IMAGES } from './images.ts';
import { renderTable } from './import-table.ts';
import { type Priorities, threadPriorities } from './io-priority.ts';
import { measure } from './measured-process.ts';
import { latencyBeside, percentile } from './neighbour.ts';
import { type BlobTraffic, type ObservingProxy, startObservingProxy } from './observing-proxy.ts';
import { shapeOf, sizeFlags } from './shape-flags.ts';
import { makeShippedBundle } from './shipped-bundle.ts';

interface LimitCase {
  readonly title: string;
  readonly flags: readonly string[];
  readonly holds: (seen: Observation) => boolean;
}

interface Observation {
  readonly wallSeconds: number;
  readonly traffic: BlobTraffic;
  /** Seen last while it ran. */
  readonly priorities: Priorities | undefined;
  /** Milliseconds that a neighbour's durable write took. */
  readonly latencies: readonly number[];
}

/** A rate is kept on average: sockets take in a little more than has been read. */
const RATE_TOLERANCE = 1.1;
const PRIORITY_SAMPLE_MS = 500;
const ALONE_MS = 3_000;

const allThreads = ({ priorities }: Observation, wanted: RegExp): boolean =>
  priorities !== undefined && priorities.share === priorities.threads && wanted.test(priorities.most);

const rate = (bytesPerSecond: number): LimitCase => ({
  title: `${bytesPerSecond / 1e6} MB/s`,
  flags: ['--max-bytes-per-second', String(bytesPerSecond)],
  holds: ({ traffic }) => traffic.bytes / traffic.seconds <= bytesPerSecond * RATE_TOLERANCE,
});

const fetches = (count: number): LimitCase => ({
  title: `${count} at once`,
  flags: ['--max-concurrent-fetches', String(count)],
  holds: ({ traffic }) => traffic.atOnce <= count,
});

const CASES: readonly LimitCase[] = [
  { title: 'no limit', flags: [], holds: () => true },
  rate(5_000_000),
  rate(20_000_000),
  fetches(1),
  fetches(2),
  { title: 'I/O idle', flags: ['--io-priority', 'idle'], holds: (seen) => allThreads(seen, /^idle/) },
  {
    title: 'I/O best effort',
    flags: ['--io-priority', 'best-effort'],
    holds: (seen) => allThreads(seen, /^best-effort/),
  },
];

const SCRIPT = {
  command: 'npm run bench:limits',
  does: `Shows whether the limits of \`image pull\` hold, and what a neighbour on the same disk feels of a pull with and without
them. Ends with 1 when a limit does not hold. Needs root.`,
  flags: { ...sizeFlags(200, 5000), output: OUTPUT },
} as const;

async function main(): Promise<void> {
  const { values } = readFlags(SCRIPT);
  const shape = shapeOf(values);
  await ensureAll(say, ['bench']);
  const images = await ensureImages(await ensurePeer(say), shape, say);
  await using shipped = await makeShippedBundle();
  await using registry = await startRegistry({ storage: images.storage });
  await using proxy = await startObservingProxy(registry.host);
  const alone = await onFreshDisk(shape.size, async (folder) =>
    latencyBeside(join(folder, 'neighbour'), async () => sleep(ALONE_MS)),
  );
  const rows: { readonly title: string; readonly holds: boolean; readonly seen?: Observation }[] = [];
  for (const { title, flags, holds } of CASES) {
    say(`pulling with ${title}`);
    const treeline = treelineContender(shipped, flags);
    try {
      const seen = await onFreshDisk(shape.size, async (folder) => observe(treeline, proxy, folder));
      rows.push({ title, holds: holds(seen), seen });
    } catch (error) {
      // The other limits are measured all the same.
      say(`The pull failed: ${error instanceof Error ? error.message : String(error)}`);
      rows.push({ title, holds: false });
    }
  }
  process.stdout.write(
    values.output === 'json'
      ? `${JSON.stringify({ shape, alone, rows }, undefined, 2)}\n`
      : renderTable(
          ['', 'wall s', 'MB/s', 'at once', 'threads', 'neighbour p50 ms', 'p99 ms', 'holds'],
          [
            ['no pull', '', '', '', '', ...latencyCells(alone), ''],
            ...rows.map(({ title, holds, seen }) => [
              title,
              ...(seen === undefined ? ['failed', '', '', '', '', ''] : cells(seen)),
              holds ? 'yes' : 'no',
            ]),
          ],
        ),
  );
  if (rows.some(({ holds }) => !holds)) process.exitCode = 1;
}

async function observe(treeline: Contender, proxy: ObservingProxy, folder: string): Promise<Observation> {
  const repository = join(folder, 'repo');
  await runCommand('ostree', [`--repo=${repository}`, 'init', '--mode=bare']);
  await runCommand('sync', []);
  proxy.takeTraffic();
  let wallSeconds = Number.NaN;
  let priorities: Priorities | undefined;
  const latencies = await latencyBeside(join(folder, 'neighbour'), async () => {
    const ended = new AbortController();
    let watching: Promise<void> | undefined;
    const watch = async (pid: number): Promise<void> => {
      while (!ended.signal.aborted) {
        const now = await threadPriorities(pid);
        if (!ended.signal.aborted) priorities = now ?? priorities;
        await sleep(PRIORITY_SAMPLE_MS);
      }
    };
    const parameters = treeline.parameters(repository, proxy.host, IMAGES.chunked);
    const cost = await measure(treeline.command, parameters, (pid) => {
      watching = watch(pid);
    }).finally(() => ended.abort());
    await watching;
    ({ wallSeconds } = cost);
  });
  return { wallSeconds, traffic: proxy.takeTraffic(), priorities, latencies };
}

async function onFreshDisk<T>(bytes: number, work: (folder: string) => Promise<T>): Promise<T> {
  await using disk = await makeFreshDisk(2.5 * bytes + 1e9);
  return await work(disk.path);
}

function cells({ wallSeconds, traffic, priorities, latencies }: Observation): readonly string[] {
  return [
    wallSeconds.toFixed(1),
    (traffic.bytes / 1e6 / traffic.seconds).toFixed(1),
    String(traffic.atOnce),
    priorities === undefined ? '' : `${priorities.share} of ${priorities.threads} ${priorities.most}`,
    ...latencyCells(latencies),
  ];
}

function latencyCells(latencies: readonly number[]): readonly string[] {
  return [percentile(latencies, 0.5).toFixed(1), percentile(latencies, 0.99).toFixed(1)];
}

await main();
