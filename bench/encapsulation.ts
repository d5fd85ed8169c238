/** Makes images of trees with the tools of others: `ostree` commits, the peer encapsulates, `skopeo` pushes. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

/** With the one of the kernel and the peer's own, of the commit and the directories, 60 layers. */
const CONTENT_CHUNKS = 58;
const KERNEL_PREFIX = '/usr/lib/modules/';

export interface Encapsulation {
  /** The peer's program. */
  readonly peer: string;
  /** An OSTree repository. */
  readonly repository: string;
  readonly branch: string;
  /** HOST:PORT of the registry. */
  readonly host: string;
  /** Name and tag there. */
  readonly image: string;
  readonly chunked: boolean;
  /** Gzip level 1. */
  readonly fast?: boolean;
  /** For what is deleted again. */
  readonly work: string;
}

/** Encapsulates a branch and pushes it. @throws Error when a program fails; it says why on standard error. */
export async function encapsulate(encapsulation: Encapsulation): Promise<void> {
  const { peer, repository, branch, host, image, chunked, fast, work } = encapsulation;
  const layout = join(work, 'layout');
  const options = chunked ? ['--contentmeta', await writeContentMeta(repository, branch, work)] : [];
  if (fast === true) options.push('--compression-fast');
  await run(peer, ['container', 'encapsulate', '--repo', repository, ...options, branch, `oci:${layout}:image`]);
  const destination = `docker://${host}/${image}`;
  await run('skopeo', ['copy', '--quiet', '--dest-tls-verify=false', `oci:${layout}:image`, destination]);
  await rm(layout, { recursive: true });
}

/** An empty repository. */
export async function initialiseRepository(repository: string): Promise<void> {
  await run('ostree', [`--repo=${repository}`, 'init', '--mode=bare']);
}

/** Commits the directory `tree`: the same tree always gives the same commit. */
export async function commit(repository: string, tree: string, branch: string): Promise<void> {
  const metadata = ['--add-metadata=ostree.bootable=true', `--add-metadata-string=version=${branch}`];
  const fixed = ['--timestamp=@1700000000', '--no-bindings', '--owner-uid=0', '--owner-gid=0', '--no-xattrs'];
  await run('ostree', [
    `--repo=${repository}`,
    'commit',
    `--branch=${branch}`,
    `--tree=dir=${tree}`,
    ...fixed,
    ...metadata,
  ]);
}

/** Which chunk each object belongs to: the kernel has its own, packages are spread over the rest by their directory. */
export async function writeContentMeta(repository: string, branch: string, folder: string): Promise<string> {
  // The peer panics at a chunk without objects, so only those are named that have any.
  const layers: Record<string, string> = {};
  const mapping: Record<string, string> = {};
  const lister = spawn('ostree', [`--repo=${repository}`, 'ls', '-R', '-C', branch], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  for await (const line of createInterface({ input: lister.stdout })) {
    const match = /^[-l]\S+ \d+ \d+ +\d+ ([0-9a-f]{64}) (\/.*?)(?: -> .*)?$/.exec(line);
    if (match?.[1] === undefined || match[2] === undefined) continue;
    const chunk = match[2].startsWith(KERNEL_PREFIX) ? 'kernel' : `chunk-${chunkOf(match[2])}`;
    mapping[match[1]] = chunk;
    layers[chunk] ??= chunk;
  }
  const path = join(folder, `contentmeta-${branch}.json`);
  await writeFile(path, JSON.stringify({ version: 1, created: '2023-11-14T22:13:20Z', layers, mapping }));
  return path;
}

function chunkOf(path: string): number {
  const name = /package-(\d+)/.exec(path)?.[1] ?? '0';
  return Number(name) % CONTENT_CHUNKS;
}

async function run(command: string, parameters: readonly string[]): Promise<void> {
  const child = spawn(command, parameters, { stdio: ['ignore', 'ignore', 'inherit'] });
  const [code] = (await once(child, 'close')) as [number | null];
  if (code !== 0) throw new Error(`${command} ${parameters.slice(0, 3).join(' ')} ended with ${code}`);
}
