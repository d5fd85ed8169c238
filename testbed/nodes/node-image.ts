/**
 * The operating system of the nodes: a small system of the machine's own distribution with containerd and a kubelet,
 * and ostree to update it. There is no kernel and no systemd in it; boot.sh and init.sh stand in for both. It is kept in the
 * cache as the storage of a registry that serves it under `node-os:base`.
 */
import { existsSync } from 'node:fs';
import { copyFile, mkdir, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { cacheKey, ensureCacheFolder } from '../../tools/setup/cache.ts';
import { runCommand } from '../../tools/setup/command.ts';
import { ensureKubernetesBinary } from '../../tools/setup/control-plane-binaries.ts';
import { SetupError } from '../../tools/setup/errors.ts';
import { withLock } from '../../tools/setup/lock.ts';
import type { Say } from '../../tools/setup/say.ts';
import { bootstrapRoot, UNWANTED } from '../debian-root.ts';
import { deriveImage, type LayerFile } from '../derived-image.ts';
import { readDistribution } from '../distribution.ts';
import { convertToOSTreeLayout, kernelFolder, writeInitramfsStandIn } from '../ostree-layout.ts';
import { commitTree, initialiseRepository } from '../os-repository.ts';
import { startRegistry } from '../registry.ts';
import { treeline } from '../treeline-command.ts';

/** Name of the image in the registry, and of the stateroot. */
export const NODE_OS = 'node-os';
/** Tag of what the versions are derived from. */
const BASE = 'base';

/** Change it whenever the tree that the code below makes changes: it is part of the cache key. */
const RECIPE = 1;
const PACKAGES = [
  'ostree',
  'containerd',
  'runc',
  'containernetworking-plugins',
  'ca-certificates',
  'iproute2',
  'mount',
  'util-linux',
];
const KERNEL = '6.1.1-stand-in';

/** Returns the folder of the registry's storage; made on first use, in a few minutes. @throws SetupError */
export async function ensureNodeImage(say: Say): Promise<string> {
  const distribution = await readDistribution();
  const kubelet = await ensureKubernetesBinary('kubelet', say);
  const version = await runCommand(kubelet, ['--version']);
  const path = join(
    await ensureCacheFolder('node-os'),
    cacheKey([JSON.stringify([RECIPE, distribution, PACKAGES, UNWANTED, version])]),
  );
  if (existsSync(path)) return path;
  return withLock('node-os', say, async () => {
    if (!existsSync(path)) await build(path, kubelet, say);
    return path;
  });
}

async function build(path: string, kubelet: string, say: Say): Promise<void> {
  if (process.getuid?.() !== 0) {
    throw new SetupError('NEEDS_ROOT', 'Making an operating system tree needs root: its files belong to many users.');
  }
  const distribution = await readDistribution();
  say(
    `Making a small ${distribution.id} ${distribution.codename} with containerd and a kubelet, as the operating system of ` +
      'real nodes: a few minutes, once.',
  );
  const scratch = await mkdtemp(`${path}.`);
  try {
    const root = join(scratch, 'root');
    await bootstrapRoot(distribution, root, PACKAGES);
    await copyFile(kubelet, join(root, 'usr', 'bin', 'kubelet'));
    await mkdir(kernelFolder(root, KERNEL), { recursive: true });
    await writeFile(join(kernelFolder(root, KERNEL), 'vmlinuz'), 'Stand-in for a kernel: nothing boots by it.\n');
    await writeInitramfsStandIn(root, KERNEL);
    await convertToOSTreeLayout(root);
    const repository = join(scratch, 'repo');
    await initialiseRepository(repository);
    await commitTree(repository, NODE_OS, root, BASE);
    const storage = join(scratch, 'registry');
    {
      await using registry = await startRegistry({ storage });
      const target = `docker://${registry.host}/${NODE_OS}:${BASE}`;
      await treeline(['encapsulate', '--plain-http', registry.host, '--repo', repository, NODE_OS, target]);
    }
    await rename(storage, path);
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

/**
 * Publishes a version of the operating system: the base with what the testbed starts nodes by, and files that tell the
 * versions apart. Returns the digest of its manifest.
 */
export async function publishNodeOS(
  registryUrl: string,
  version: string,
  files: readonly LayerFile[] = [],
): Promise<string> {
  const script = (name: string) => readFile(join(import.meta.dirname, name));
  return deriveImage({
    registryUrl,
    repository: NODE_OS,
    baseTag: BASE,
    tag: version,
    files: [
      { path: 'usr/lib/treeline-testbed/init', content: await script('init.sh'), mode: 0o755 },
      { path: 'usr/bin/systemctl', content: await script('systemctl.sh'), mode: 0o755 },
      { path: 'usr/lib/treeline-testbed/version', content: `${version}\n` },
      { path: 'etc/motd', content: `Version ${version} of the nodes' operating system.\n` },
      ...files,
    ],
    labels: { 'org.opencontainers.image.version': version },
    createdBy: `COPY version ${version}`,
  });
}
