/**
 * `npm run bench:cache`: what a fleet takes from the registry of its image, with and without a layer cache in the cluster. Real
 * pulls of as many agents into repositories of their own; a proxy in front of the registry counts the bytes. Ends with 1 when
 * a pull fails. Needs root, as repositories of mode `bare` do.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pullImage, Repository } from '../ostree/index.ts';
import { openImageSource, parseOstreeImageReference } from '../registry/index.ts';
import { startRegistry, type TestRegistry } from '../testbed/registry.ts';
import { OUTPUT, readFlags } from '../tools/script-flags.ts';
import { ensureAll, ensurePeer, sayOnStandardError as say } from '../tools/setup/index.ts';
import { type CountingProxy, startCountingProxy } from './counting-proxy.ts';
import { ensureImages, IMAGES } from './images.ts';
import { renderTable } from './import-table.ts';
import { shapeOf, sizeFlags } from './shape-flags.ts';

/** As many nodes fetch at once unless spec.staging.maxConcurrent says otherwise. */
const STAGING_AT_ONCE = 10;
const PLATFORM = { os: 'linux', architecture: process.arch === 'x64' ? 'amd64' : process.arch };

interface Row {
  readonly title: string;
  /** Bytes that the registry of the reference sent, headers included. */
  readonly bytes: number;
  /** How often that is the image. */
  readonly images: number;
  readonly failed: number;
}

interface Fleet {
  readonly agents: number;
  readonly folder: string;
  /** Digest of the manifest of this machine's architecture. */
  readonly digest: string;
  readonly origin: CountingProxy;
}

const SCRIPT = {
  command: 'npm run bench:cache',
  does: `Counts what a fleet takes from the registry of its image, with and without a layer cache in the cluster. Ends with 1 when a
pull fails. Needs root, as repositories of mode \`bare\` do.`,
  flags: {
    agents: { kind: 'number', says: 'how many pull', default: 50 },
    ...sizeFlags(20, 500),
    output: OUTPUT,
  },
} as const;

async function main(): Promise<void> {
  const { values } = readFlags(SCRIPT);
  const { agents } = values;
  await ensureAll(say, ['bench']);
  const shape = shapeOf(values);
  const images = await ensureImages(await ensurePeer(say), shape, say);
  const folder = await mkdtemp(join(tmpdir(), 'treeline-bench-cache-'));
  try {
    const rows = await measureAll(agents, folder, images.storage);
    process.stdout.write(
      values.output === 'json'
        ? `${JSON.stringify({ agents, shape, rows }, undefined, 2)}\n`
        : renderTable(
            ['', 'MB from the registry', 'times the image', 'failed'],
            rows.map((row) => [row.title, (row.bytes / 1e6).toFixed(1), row.images.toFixed(1), String(row.failed)]),
          ),
    );
    if (rows.some(({ failed }) => failed > 0)) process.exitCode = 1;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function measureAll(agents: number, folder: string, storage: string): Promise<readonly Row[]> {
  await using registry = await startRegistry({ storage });
  await using origin = await startCountingProxy(registry.host);
  const [repository = '', tag = ''] = IMAGES.chunked.split(':');
  const fleet = { agents, folder, origin, digest: await digestOf(registry, repository, tag) };
  const image = await measure(fleet, 'one agent', 1, 1);
  const rows: Row[] = [];
  const add = async (title: string, atOnce: number, cache?: TestRegistry): Promise<void> => {
    say(`pulling: ${title}`);
    const row = await measure(fleet, title, agents, atOnce, cache);
    rows.push({ ...row, images: row.bytes / image.bytes });
  };
  await add(`no cache, ${STAGING_AT_ONCE} at once`, STAGING_AT_ONCE);
  const start = (name: string) => startRegistry({ storage: join(folder, name), cacheOf: `http://${origin.host}` });
  await using cold = await start('cold');
  await add(`empty cache, all ${agents} at once`, agents, cold);
  await using usual = await start('usual');
  await add(`empty cache, ${STAGING_AT_ONCE} at once`, STAGING_AT_ONCE, usual);
  await add(`filled cache, all ${agents} at once`, agents, usual);
  await using first = await start('first');
  await add(`empty cache, one first, then ${STAGING_AT_ONCE} at once`, STAGING_AT_ONCE, first);
  await registry.kill();
  await add(`filled cache, registry down`, STAGING_AT_ONCE, usual);
  return rows;
}

async function digestOf({ url }: TestRegistry, repository: string, tag: string): Promise<string> {
  const response = await fetch(`${url}/v2/${repository}/manifests/${tag}`, {
    method: 'HEAD',
    headers: { accept: 'application/vnd.oci.image.manifest.v1+json' },
  });
  return response.headers.get('docker-content-digest') ?? '';
}

async function measure(
  { folder, origin, digest }: Fleet,
  title: string,
  agents: number,
  atOnce: number,
  cache?: TestRegistry,
): Promise<Row> {
  origin.takeCount();
  let failed = 0;
  const rest = Array.from({ length: agents }, (_, at) => at).values();
  const [repository = ''] = IMAGES.chunked.split(':');
  const pullOne = async (at: number): Promise<void> => {
    const path = join(folder, `agent-${at}`);
    const reference = parseOstreeImageReference(`ostree-unverified-registry:${origin.host}/${repository}@${digest}`);
    await using source = openImageSource(reference.image, {
      plainHttpHosts: [origin.host, ...(cache === undefined ? [] : [cache.host])],
      ...(cache === undefined ? {} : { mirrors: [`${cache.host}/${repository}`] }),
      onWarning: say,
    });
    try {
      const own = Repository.create(path, 'bare');
      await pullImage({ repository: own, source, reference, platform: PLATFORM, threads: 1 });
    } catch (error) {
      failed += 1;
      say(`agent ${at}: ${error instanceof Error ? error.message : String(error)}`);
    } finally {
      await rm(path, { recursive: true, force: true });
    }
  };
  if (title.includes('one first')) await pullOne(rest.next().value ?? 0);
  const worker = async (): Promise<void> => {
    for (const at of rest) await pullOne(at);
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
  const bytes = origin.takeCount();
  return { title, bytes, images: 1, failed };
}

await main();
