/**
 * The operating system of the virtual machines: a small system of the machine's own distribution that really boots, with
 * Node to run Treeline on. It is kept in the cache as the storage of a registry that serves it under `guest:base`.
 */
import { chmod, copyFile, mkdir, mkdtemp, rename, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { cacheKey, ensureCacheFolder } from '../../tools/setup/cache.ts';
import { SetupError } from '../../tools/setup/errors.ts';
import { withLock } from '../../tools/setup/lock.ts';
import type { Say } from '../../tools/setup/say.ts';
import { bootstrapRoot, UNWANTED } from '../debian-root.ts';
import { kernelPackages, readDistribution } from '../distribution.ts';
import { collectKernels, convertToOSTreeLayout } from '../ostree-layout.ts';
import { commitTree, initialiseRepository } from '../os-repository.ts';
import { startRegistry } from '../registry.ts';
import { treeline } from '../treeline-command.ts';
import { CONSOLE } from './guest-console.ts';
import { INITRAMFS, writeInitramfs } from './initramfs.ts';

/** Name of the image in the registry. */
export const GUEST = 'guest';
/** Tag of what the versions are derived from. */
export const GUEST_BASE = 'base';

/** Change it whenever the tree that the code below makes changes: it is part of the cache key. */
const RECIPE = 1;
const PACKAGES = [
  'systemd',
  'systemd-sysv',
  'udev',
  'dbus',
  'ostree',
  'ostree-boot',
  'busybox-static',
  'extlinux',
  'libatomic1',
  'libstdc++6',
];

/** They would run in the middle of a test, and emulated processors have no time for them. */
const MASKED = [
  'apt-daily.timer',
  'apt-daily-upgrade.timer',
  'dpkg-db-backup.timer',
  'e2scrub_all.timer',
  'e2scrub_reap.service',
  'fstrim.timer',
  'getty@tty1.service',
  'systemd-firstboot.service',
  'systemd-tmpfiles-clean.timer',
];

/** QEMU's user-mode network has fixed addresses; asking for them takes longer. */
const NETWORK = `[Match]
Name=en* eth*

[Network]
Address=10.0.2.15/24
Gateway=10.0.2.2
`;

/** Returns the folder of the registry's storage; made on first use, in a minute or two. @throws SetupError */
export async function ensureGuestImage(say: Say): Promise<string> {
  const distribution = await readDistribution();
  if (distribution.architecture !== 'amd64') {
    throw new SetupError('UNSUPPORTED_MACHINE', 'The virtual machines of the tests are amd64; run these tests there.');
  }
  const inputs = [RECIPE, distribution, PACKAGES, MASKED, UNWANTED, NETWORK, CONSOLE, INITRAMFS, process.version];
  const path = join(await ensureCacheFolder('vm'), cacheKey([JSON.stringify(inputs)]));
  if (await exists(path)) return path;
  return withLock('vm', say, async () => {
    if (!(await exists(path))) await build(path, say);
    return path;
  });
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

async function build(path: string, say: Say): Promise<void> {
  if (process.getuid?.() !== 0) {
    throw new SetupError('NEEDS_ROOT', 'Making an operating system tree needs root: its files belong to many users.');
  }
  const distribution = await readDistribution();
  say(`Making a small ${distribution.id} ${distribution.codename} that boots in a virtual machine: two minutes, once.`);
  const scratch = await mkdtemp(`${path}.`);
  try {
    const root = join(scratch, 'root');
    const [kernel = ''] = (await kernelPackages(distribution)).toReversed();
    await bootstrapRoot(distribution, root, [...PACKAGES, kernel]);
    await furnish(root);
    for (const version of await collectKernels(root)) await writeInitramfs(root, version);
    await convertToOSTreeLayout(root);
    const repository = join(scratch, 'repo');
    await initialiseRepository(repository);
    await commitTree(repository, GUEST, root, GUEST_BASE);
    const storage = join(scratch, 'registry');
    {
      await using registry = await startRegistry({ storage });
      const target = `docker://${registry.host}/${GUEST}:${GUEST_BASE}`;
      await treeline(['encapsulate', '--plain-http', registry.host, '--repo', repository, GUEST, target]);
    }
    await rename(storage, path);
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

/** What the packages do not bring: Node, the network, the console by which tests speak to the machine. */
async function furnish(root: string): Promise<void> {
  const write = async (name: string, content: string) => {
    const target = join(root, name);
    await mkdir(dirname(target), { recursive: true });
    await writeFile(target, content);
  };
  const link = async (name: string, target: string) => {
    await mkdir(dirname(join(root, name)), { recursive: true });
    await rm(join(root, name), { force: true });
    await symlink(target, join(root, name));
  };
  const units = 'usr/lib/systemd/system';
  await mkdir(join(root, 'usr', 'lib', 'treeline'));
  await copyFile(nodeBinary(), join(root, 'usr', 'lib', 'treeline', 'node'));
  await chmod(join(root, 'usr', 'lib', 'treeline', 'node'), 0o755);
  await write('etc/hostname', 'guest\n');
  await write('etc/systemd/network/10-guest.network', NETWORK);
  await link(`${units}/multi-user.target.wants/systemd-networkd.service`, '../systemd-networkd.service');
  await write(`usr/lib/treeline-testbed/console`, CONSOLE.script);
  await write(`${units}/testbed-console.service`, CONSOLE.unit);
  await link(`${units}/sysinit.target.wants/testbed-console.service`, '../testbed-console.service');
  for (const name of MASKED) await link(`etc/systemd/system/${name}`, '/dev/null');
}

/** Node as the lock file pins it, whose package is named for the processor. */
function nodeBinary(): string {
  return createRequire(import.meta.url).resolve(`node-linux-${process.arch}/bin/node`);
}
