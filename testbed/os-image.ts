/**
 * A real operating system for the demo and the benchmarks: a small Debian (or whatever the machine is) with systemd and
 * a kernel, made by mmdebstrap from the machine's own apt sources and kept in the cache as an OSTree repository.
 */
import { mkdtemp, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { cacheKey, ensureCacheFolder } from '../tools/setup/cache.ts';
import { SetupError } from '../tools/setup/errors.ts';
import { withLock } from '../tools/setup/lock.ts';
import type { Say } from '../tools/setup/say.ts';
import { bootstrapRoot, UNWANTED } from './debian-root.ts';
import { kernelPackages, readDistribution } from './distribution.ts';
import type { Distribution } from './distribution.ts';
import { collectKernels, convertToOSTreeLayout, kernelFolder, writeInitramfsStandIn } from './ostree-layout.ts';
import { commitTree, initialiseRepository } from './os-repository.ts';
import type { OSRepository } from './os-repository.ts';

/** Change it whenever the tree that the code below makes changes: it is part of the cache key. */
const RECIPE = 2;
const PACKAGES = ['systemd', 'systemd-sysv', 'dbus'];

/**
 * Returns the repository with versions 1 and 2 of the operating system; made on first use, in about a minute.
 * @throws SetupError
 */
export async function ensureOSImage(say: Say): Promise<OSRepository> {
  const distribution = await readDistribution();
  const folder = await ensureCacheFolder('os');
  const name = distribution.id;
  const path = join(folder, cacheKey([JSON.stringify([RECIPE, distribution, PACKAGES, UNWANTED])]));
  const repository = { path, name, branches: { 1: `${name}/1`, 2: `${name}/2` } };
  if (await exists(path)) return repository;
  return withLock('os', say, async () => {
    if (!(await exists(path))) await build(distribution, repository, say);
    return repository;
  });
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

async function build(distribution: Distribution, repository: OSRepository, say: Say): Promise<void> {
  if (process.getuid?.() !== 0) {
    throw new SetupError('NEEDS_ROOT', 'Making an operating system tree needs root: its files belong to many users.');
  }
  say(
    `Making a small ${distribution.id} ${distribution.codename} with systemd and a kernel, as the operating system of ` +
      'the nodes: about a minute, once.',
  );
  const scratch = await mkdtemp(`${repository.path}.`);
  try {
    const root = join(scratch, 'root');
    await bootstrapRoot(distribution, root, [...PACKAGES, ...(await kernelPackages(distribution))]);
    const unfinished = join(scratch, 'repo');
    await commitVersions(root, unfinished, repository.branches);
    await rename(unfinished, repository.path);
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

/** Version 1 has the older kernel; version 2 the newer one and a few changed files. */
async function commitVersions(root: string, repository: string, branches: OSRepository['branches']): Promise<void> {
  const kernels = await collectKernels(root);
  const [older, newer = older] = kernels;
  if (older === undefined || newer === undefined) {
    throw new SetupError(
      'INSTALL_FAILED',
      'The kernel packages put no kernel into /boot of the operating system tree.',
    );
  }
  await convertToOSTreeLayout(root);
  await initialiseRepository(repository);
  for (const kernel of kernels) await writeInitramfsStandIn(root, kernel);

  const parked = `${root}.kernel`;
  if (newer !== older) await rename(kernelFolder(root, newer), parked);
  await describe(root, '1', older);
  await commitTree(repository, branches[1], root, '1');
  if (newer === older) {
    // A mirror with one kernel only: the same one under another version is another kernel to whoever deploys it.
    await rename(kernelFolder(root, older), kernelFolder(root, `${older}.rebuilt`));
  } else {
    await rm(kernelFolder(root, older), { recursive: true });
    await rename(parked, kernelFolder(root, newer));
  }
  await describe(root, '2', newer === older ? `${older}.rebuilt` : newer);
  await commitTree(repository, branches[2], root, '2');
}

/** The files that differ between versions, besides the kernel. */
async function describe(root: string, version: string, kernel: string): Promise<void> {
  await writeFile(join(root, 'usr', 'lib', 'treeline-testbed-release'), `VERSION=${version}\nKERNEL=${kernel}\n`);
  await writeFile(join(root, 'usr', 'etc', 'motd'), `Version ${version} of the operating system, Linux ${kernel}.\n`);
  await writeFile(join(root, 'usr', 'etc', 'issue'), `Version ${version} \\n \\l\n`);
}
