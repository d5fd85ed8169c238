/**
 * `npm run bench:partial`: an update of an image with a single layer, of which few files changed, once with the layer as
 * zstd:chunked, of which only these files are fetched, and with gzip, by our `image pull` and by the peer's. The peer is
 * not asked for zstd:chunked: with skopeo 1.9.3 it ends with "broken pipe" at a table of contents that fills a pipe.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import { MEDIA_TYPE } from '../registry/oci.ts';
import { startRegistry } from '../testbed/registry.ts';
import { OUTPUT, readFlags } from '../tools/script-flags.ts';
import { ensureAll, ensurePeer, ensureZstdChunkedWriter, sayOnStandardError } from '../tools/setup/index.ts';
import { startCountingProxy } from './counting-proxy.ts';
import { makeFreshDisk } from './fresh-disk.ts';
import { renderTable } from './import-table.ts';
import { type Cost, measure } from './measured-process.ts';
import { kernelBytes, type TreeShape, writeKernel, writeTree } from './os-tree.ts';
import { shapeOf, sizeFlags } from './shape-flags.ts';

/** Tags of the images, and what changed since `v1`. */
const UPDATES = { 'one-file': 'one file of many', kernel: 'the kernel' } as const;
/** In every tree; a text file of the first package. */
const CHANGED_FOLDER = 'usr/etc/package-0';

interface PartialResult extends Cost {
  readonly update: string;
  readonly tool: string;
  readonly wireBytes: number;
}

const SCRIPT = {
  command: 'npm run bench:partial',
  does: `Updates an image with a single layer, of which few files changed: as zstd:chunked, as gzip, and by the peer. Needs root.`,
  flags: { ...sizeFlags(300, 7000), output: OUTPUT },
} as const;

async function main(): Promise<void> {
  const { values } = readFlags(SCRIPT);
  const shape = shapeOf(values);
  await ensureAll(sayOnStandardError, ['bench']);
  const peer = await ensurePeer(sayOnStandardError);
  const treeline = fileURLToPath(new URL('../bin/treeline', import.meta.url));
  await using disk = await makeFreshDisk(40 * shape.size);
  await using registry = await startRegistry({ storage: join(disk.path, 'registry') });
  await publishImages(disk.path, registry.host, peer, shape);
  await using proxy = await startCountingProxy(registry.host);
  const results: PartialResult[] = [];
  for (const [tag, title] of Object.entries(UPDATES)) {
    const ours = ['image', 'pull', '--plain-http', proxy.host, '--repo'];
    for (const [name, format, command, flags] of [
      ['treeline', 'zstd:chunked', treeline, ours],
      ['treeline', 'gzip', treeline, ours],
      ['ostree-ext', 'gzip', peer, ['container', 'image', 'pull', '--insecure-skip-tls-verification', '--quiet']],
    ] as const) {
      const repository = join(disk.path, `${name}-${tag}-${format.slice(0, 4)}`);
      run('ostree', `--repo=${repository}`, 'init', '--mode=bare');
      const pull = (version: string) =>
        measure(command, [
          ...flags,
          repository,
          `ostree-unverified-registry:${proxy.host}/${repositoryOf(format)}:${version}`,
        ]);
      await pull('v1');
      run('sync');
      proxy.takeCount();
      const cost = await pull(tag);
      results.push({ update: title, tool: `${name}, ${format}`, ...cost, wireBytes: proxy.takeCount() });
    }
  }
  process.stdout.write(values.output === 'json' ? `${JSON.stringify(results, undefined, 2)}\n` : render(results));
}

function render(results: readonly PartialResult[]): string {
  return renderTable(
    ['update', 'tool', 'wall s', 'CPU s', 'peak MB', 'wire MB'],
    results.map(({ update, tool, wallSeconds, cpuSeconds, peakBytes, wireBytes }) => [
      update,
      tool,
      wallSeconds.toFixed(1),
      cpuSeconds.toFixed(1),
      (peakBytes / 1e6).toFixed(1),
      (wireBytes / 1e6).toFixed(1),
    ]),
  );
}

/** Makes `v1` and its updates, each a single layer by the writer that podman has. */
async function publishImages(work: string, host: string, peer: string, shape: TreeShape): Promise<void> {
  const writer = await ensureZstdChunkedWriter(sayOnStandardError);
  const tree = join(work, 'tree');
  const repository = join(work, 'source');
  mkdirSync(tree);
  writeTree(tree, shape);
  run('ostree', `--repo=${repository}`, 'init', '--mode=bare');
  for (const tag of ['v1', ...Object.keys(UPDATES)]) {
    if (tag === 'one-file') changeOneFile(tree);
    if (tag === 'kernel') writeKernel(tree, kernelBytes(shape), '6.1.0-2');
    const fixed = ['--timestamp=@1700000000', '--no-bindings', '--owner-uid=0', '--owner-gid=0', '--no-xattrs'];
    run('ostree', `--repo=${repository}`, 'commit', `--branch=${tag}`, `--tree=dir=${tree}`, ...fixed);
    const layout = join(work, `layout-${tag}`);
    run(peer, 'container', 'encapsulate', '--repo', repository, tag, `oci:${layout}:image`);
    for (const format of ['gzip', 'zstd:chunked'] as const) {
      if (format === 'zstd:chunked') recompress(layout, writer);
      const target = `docker://${host}/${repositoryOf(format)}:${tag}`;
      const flags = ['--quiet', '--preserve-digests', '--dest-tls-verify=false'];
      run('skopeo', '--insecure-policy', 'copy', ...flags, `oci:${layout}:image`, target);
    }
  }
}

function repositoryOf(format: 'gzip' | 'zstd:chunked'): string {
  return `os/${format.replace(':', '-')}`;
}

function changeOneFile(tree: string): void {
  const [name] = readdirSync(join(tree, CHANGED_FOLDER)).toSorted();
  if (name === undefined) throw new Error(`${CHANGED_FOLDER} is empty`);
  writeFileSync(join(tree, CHANGED_FOLDER, name), 'changed\n');
}

/** Replaces the only layer of the layout's image by a zstd:chunked one. */
function recompress(layout: string, writer: string): void {
  interface Named {
    digest: string;
  }
  const read = ({ digest }: Named): Buffer => readFileSync(join(layout, 'blobs', digest.replace(':', '/')));
  const add = (bytes: Buffer): { digest: string; size: number } => {
    const digest = createHash('sha256').update(bytes).digest('hex');
    writeFileSync(join(layout, 'blobs', 'sha256', digest), bytes);
    return { digest: `sha256:${digest}`, size: bytes.length };
  };
  const index = JSON.parse(readFileSync(join(layout, 'index.json'), 'utf8')) as { manifests: Named[] };
  const [image] = index.manifests;
  if (image === undefined) throw new Error(`${layout} holds no image`);
  const manifest = JSON.parse(read(image).toString()) as { layers: (Named & { annotations?: unknown })[] };
  manifest.layers = manifest.layers.map((layer) => {
    const input = gunzipSync(read(layer));
    const { status, stdout, stderr } = spawnSync(writer, { input, maxBuffer: input.length * 2 });
    if (status !== 0) throw new Error(`the zstd:chunked writer failed: ${stderr.toString()}`);
    return { mediaType: MEDIA_TYPE.layerZstd, ...add(stdout), annotations: JSON.parse(stderr.toString()) as unknown };
  });
  Object.assign(image, add(Buffer.from(JSON.stringify(manifest))));
  writeFileSync(join(layout, 'index.json'), JSON.stringify(index));
}

function run(command: string, ...parameters: readonly string[]): void {
  execFileSync(command, parameters, { stdio: ['ignore', 'ignore', 'inherit'] });
}

await main();
