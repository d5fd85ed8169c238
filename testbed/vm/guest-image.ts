/**
 * The operating system of the virtual machines: a small system of the machine's own distribution that really boots, with
 * Node to run Treeline on. It is kept in the cache as the storage of a registry that serves it under `guest:base`.
 */
import { chmod, copyFile, mkdir, mkdtemp, readdir, rename, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { basename, dirname, join } from 'node:path';
import { runCommand } from '../../tools/setup/command.ts';
import { cacheKey, ensureCacheFolder } from '../../tools/setup/cache.ts';
import { ensureKubernetesBinary } from '../../tools/setup/control-plane-binaries.ts';
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
const RECIPE = 2;
/** Each is looked at again and again on the machine, by processors that are emulated. */
const LAYERS = 8;
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

/**
 * Units that no test is about. Emulated processors take tenths of a second to start a program: without these, and what follows,
 * the machine is up in two thirds of the time.
 */
const MASKED = [
  'apt-daily.timer',
  'apt-daily-upgrade.timer',
  'dev-hugepages.mount',
  'dev-mqueue.mount',
  'dpkg-db-backup.timer',
  'e2scrub_all.timer',
  'e2scrub_reap.service',
  'fstrim.timer',
  'getty.target',
  'kmod-static-nodes.service',
  'modprobe@configfs.service',
  'modprobe@dm_mod.service',
  'modprobe@drm.service',
  'modprobe@efi_pstore.service',
  'modprobe@fuse.service',
  'modprobe@loop.service',
  'proc-sys-fs-binfmt_misc.automount',
  'sys-fs-fuse-connections.mount',
  'sys-kernel-config.mount',
  'sys-kernel-debug.mount',
  'sys-kernel-tracing.mount',
  'systemd-ask-password-console.path',
  'systemd-ask-password-wall.path',
  'systemd-binfmt.service',
  'systemd-firstboot.service',
  'systemd-fsckd.socket',
  'systemd-hwdb-update.service',
  'systemd-modules-load.service',
  'systemd-pstore.service',
  'systemd-random-seed.service',
  'systemd-sysusers.service',
  'systemd-tmpfiles-clean.timer',
  'systemd-update-utmp.service',
  'systemd-update-utmp-runlevel.service',
  'systemd-user-sessions.service',
];

/** Programs that make units of what the machine has, at each boot: of an fstab, and of OSTree's deployment, it has something. */
const GENERATORS = ['ostree-system-generator', 'systemd-fstab-generator'];

/** Rules by which a device is made known: disks with their labels, and the network; each device is asked by each rule. */
const DEVICE_RULES = [
  '50-udev-default.rules',
  '60-block.rules',
  '60-persistent-storage.rules',
  '73-special-net-names.rules',
  '80-drivers.rules',
  '80-net-setup-link.rules',
  '99-systemd.rules',
];

/** Kinds of devices that are looked for when the machine starts: dozens of terminals are none of them. */
const DEVICES = `[Service]
ExecStart=
ExecStart=-udevadm trigger --action=add --prioritized-subsystem=block ${['block', 'net', 'pci', 'virtio'].map((kind) => `--subsystem-match=${kind}`).join(' ')}
`;

/** Nothing on the machine reads them, and `ostree fsck` reads everything. Paths, or what they begin with. */
const UNREAD = [
  'usr/lib/udev/hwdb',
  'usr/lib/x86_64-linux-gnu/gconv',
  'usr/lib/x86_64-linux-gnu/libperl.so',
  'usr/lib/x86_64-linux-gnu/perl',
  'usr/share/perl',
  'usr/share/zoneinfo',
];

/** What a guest is of which a kubelet makes a node, beside what all are. */
const NODE_PACKAGES = ['containerd', 'runc', 'containernetworking-plugins', 'ca-certificates', 'iproute2'];

/** As the kubelet's packages have it; until somebody has made it a node of a cluster, it does nothing. */
const KUBELET_UNIT = `[Unit]
Wants=network-online.target containerd.service
After=network-online.target containerd.service
ConditionPathExists=/etc/kubernetes/kubelet.yaml

[Service]
ExecStart=/usr/bin/kubelet --config=/etc/kubernetes/kubelet.yaml --kubeconfig=/etc/kubernetes/kubelet.kubeconfig
Restart=always
RestartSec=1
KillMode=process
`;

/** `Plain` has no containers; `Node` has containerd and a kubelet. */
export type GuestKind = 'Plain' | 'Node';

/** QEMU's user-mode network has fixed addresses; asking for them takes longer. */
const NETWORK = `[Match]
Name=en* eth*

[Network]
Address=10.0.2.15/24
Gateway=10.0.2.2
`;

/** Returns the folder of the registry's storage; made on first use, in a minute or two. @throws SetupError */
export async function ensureGuestImage(say: Say, kind: GuestKind = 'Plain'): Promise<string> {
  const distribution = await readDistribution();
  if (distribution.architecture !== 'amd64') {
    throw new SetupError('UNSUPPORTED_MACHINE', 'The virtual machines of the tests are amd64; run these tests there.');
  }
  const inputs = [
    RECIPE,
    distribution,
    [LAYERS, PACKAGES, MASKED, GENERATORS, DEVICE_RULES, DEVICES, UNREAD, UNWANTED],
    [NETWORK, CONSOLE, INITRAMFS, process.version],
  ];
  const kubelet = kind === 'Node' ? await ensureKubernetesBinary('kubelet', say) : undefined;
  if (kubelet !== undefined) inputs.push([NODE_PACKAGES, KUBELET_UNIT, await runCommand(kubelet, ['--version'])]);
  const path = join(await ensureCacheFolder('vm'), cacheKey([JSON.stringify(inputs)]));
  if (await exists(path)) return path;
  return withLock('vm', say, async () => {
    if (!(await exists(path))) await build(path, kubelet, say);
    return path;
  });
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

async function build(path: string, kubelet: string | undefined, say: Say): Promise<void> {
  if (process.getuid?.() !== 0) {
    throw new SetupError('NEEDS_ROOT', 'Making an operating system tree needs root: its files belong to many users.');
  }
  const distribution = await readDistribution();
  say(`Making a small ${distribution.id} ${distribution.codename} that boots in a virtual machine: two minutes, once.`);
  const scratch = await mkdtemp(`${path}.`);
  try {
    const root = join(scratch, 'root');
    const [kernel = ''] = (await kernelPackages(distribution)).toReversed();
    await bootstrapRoot(distribution, root, [...PACKAGES, kernel, ...(kubelet === undefined ? [] : NODE_PACKAGES)]);
    await furnish(root, kubelet);
    for (const version of await collectKernels(root)) await writeInitramfs(root, version);
    await convertToOSTreeLayout(root);
    const repository = join(scratch, 'repo');
    await initialiseRepository(repository);
    await commitTree(repository, GUEST, root, GUEST_BASE);
    const storage = join(scratch, 'registry');
    {
      await using registry = await startRegistry({ storage });
      const target = `docker://${registry.host}/${GUEST}:${GUEST_BASE}`;
      await treeline([
        'encapsulate',
        '--plain-http',
        registry.host,
        `--max-layers=${LAYERS}`,
        '--repo',
        repository,
        GUEST,
        target,
      ]);
    }
    await rename(storage, path);
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

/** What the packages do not bring: Node, the network, the console by which tests speak to the machine, the kubelet. */
async function furnish(root: string, kubelet: string | undefined): Promise<void> {
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
  const node = join(root, 'usr', 'lib', 'treeline', 'node');
  await copyFile(nodeBinary(), node);
  await runCommand('strip', ['--strip-all', node]);
  await chmod(node, 0o755);
  await write('etc/hostname', 'guest\n');
  await write('etc/systemd/network/10-guest.network', NETWORK);
  await link(`${units}/multi-user.target.wants/systemd-networkd.service`, '../systemd-networkd.service');
  await write(`usr/lib/treeline-testbed/console`, CONSOLE.script);
  await write(`${units}/testbed-console.service`, CONSOLE.unit);
  await link(`${units}/sysinit.target.wants/testbed-console.service`, '../testbed-console.service');
  if (kubelet !== undefined) {
    await copyFile(kubelet, join(root, 'usr', 'bin', 'kubelet'));
    await write(`${units}/kubelet.service`, KUBELET_UNIT);
    await link(`${units}/multi-user.target.wants/kubelet.service`, '../kubelet.service');
  }
  for (const name of MASKED) await link(`etc/systemd/system/${name}`, '/dev/null');
  await keepOnly(join(root, 'usr/lib/systemd/system-generators'), GENERATORS);
  await keepOnly(join(root, 'usr/lib/udev/rules.d'), DEVICE_RULES);
  await write(`${units}/systemd-udev-trigger.service.d/testbed.conf`, DEVICES);
  for (const path of UNREAD) {
    const folder = join(root, dirname(path));
    for (const name of await readdir(folder)) {
      if (name === basename(path) || name.startsWith(`${basename(path)}.`)) {
        await rm(join(folder, name), { recursive: true });
      }
    }
  }
}

async function keepOnly(folder: string, names: readonly string[]): Promise<void> {
  for (const name of await readdir(folder)) if (!names.includes(name)) await rm(join(folder, name));
}

/** Node as the lock file pins it, whose package is named for the processor. */
function nodeBinary(): string {
  return createRequire(import.meta.url).resolve(`node-linux-${process.arch}/bin/node`);
}
