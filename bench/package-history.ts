/**
 * A real operating system in five versions that follow each other, for the benchmark of chunking: what a Kubernetes node on
 * Debian has, made by mmdebstrap from what the distribution offers, and kept in the cache as an OSTree repository.
 */
import { mkdir, mkdtemp, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { bootstrapRoot } from '../testbed/debian-root.ts';
import { type Distribution, distributionSources, readDistribution } from '../testbed/distribution.ts';
import { commitTree, initialiseRepository } from '../testbed/os-repository.ts';
import { collectKernels, convertToOSTreeLayout, kernelFolder } from '../testbed/ostree-layout.ts';
import { cacheKey, ensureCacheFolder } from '../tools/setup/cache.ts';
import { SetupError } from '../tools/setup/errors.ts';
import type { Say } from '../tools/setup/say.ts';

/** Change it whenever the trees that the code below makes change: it is part of the cache key. */
const RECIPE = 2;

const PACKAGES = [
  ['systemd', 'systemd-sysv', 'dbus', 'udev', 'initramfs-tools', 'zstd', 'openssh-server', 'sudo', 'less', 'rsyslog'],
  ['chrony', 'curl', 'ca-certificates', 'gnupg', 'jq', 'rsync', 'unzip', 'python3', 'podman', 'iptables', 'iproute2'],
  ['conntrack', 'socat', 'ethtool', 'nfs-common', 'open-iscsi', 'lvm2', 'xfsprogs', 'parted', 'tzdata'],
].flat();
/** What the last version has in addition. */
const LATER_PACKAGES = [
  'git',
  'nftables',
  'tcpdump',
  'strace',
  'htop',
  'wireguard-tools',
  'python3-yaml',
  'cryptsetup',
];
/** Change logs stay: they tell how often a package changes, as in any image that does not leave them out. */
const KEPT = ['/usr/share/doc/*/changelog*'];
/** The same time stamps in every initramfs: where its content stays, so does it. Source: mkinitramfs(8). */
const SOURCE_DATE_EPOCH = '1767225600';

/** What the maintainer of the system adds to it, in all versions but the first. */
const CONFIGURATION: Readonly<Record<string, string>> = {
  'usr/etc/motd': 'This system is updated as a whole.\n',
  'usr/etc/sysctl.d/90-node.conf': 'net.ipv4.ip_forward = 1\nfs.inotify.max_user_instances = 8192\n',
};
/** Packages make them of randomness when they are installed; an image has none. */
const SECRETS = [/^etc\/ssh\/ssh_host_/, /^etc\/iscsi\/initiatorname/];

interface Version {
  readonly branch: string;
  /** What happened since the version before. */
  readonly title: string;
}

interface VersionPlan extends Version {
  readonly packages: readonly string[];
  /** Suites, in addition to those of the machine. */
  readonly suites: readonly string[];
  /** Suite whose packages are taken where there are newer ones elsewhere. */
  readonly defaultRelease?: string;
}

export interface PackageHistory {
  /** Path of the repository. */
  readonly path: string;
  readonly versions: readonly Version[];
}

function plan({ codename, architecture }: Distribution): readonly VersionPlan[] {
  const kernel = `linux-image-cloud-${architecture}`;
  const release = { suites: [], defaultRelease: codename };
  return [
    { ...BASE, packages: [...PACKAGES, kernel], ...release },
    { branch: 'kernel', title: 'kernel only', packages: [...PACKAGES, `${kernel}/${codename}-security`], ...release },
    { branch: 'security', title: 'security update', packages: [...PACKAGES, kernel], suites: [] },
    {
      branch: 'big',
      title: 'big update',
      packages: [...PACKAGES, ...LATER_PACKAGES, kernel],
      suites: [`${codename}-backports`],
      defaultRelease: `${codename}-backports`,
    },
  ];
}

/** The first version, and its tree again with a changed configuration. */
const BASE: Version = { branch: 'base', title: 'the last point release' };
const CONFIGURED: Version = { branch: 'configuration', title: 'configuration only' };

/** The repository with all versions; made on first use, in some minutes. @throws SetupError */
export async function ensurePackageHistory(say: Say): Promise<PackageHistory> {
  const distribution = await readDistribution();
  if (distribution.id !== 'debian') {
    throw new SetupError('UNSUPPORTED_MACHINE', 'The history of packages is one of Debian; run this on Debian.');
  }
  const plans = plan(distribution);
  const versions = plans.flatMap((version) => (version.branch === BASE.branch ? [version, CONFIGURED] : [version]));
  const key = cacheKey([JSON.stringify([RECIPE, distribution, plans, KEPT])]);
  const path = join(await ensureCacheFolder('bench-chunking'), key);
  if ((await stat(path).catch(() => undefined)) === undefined) await build(distribution, plans, path, say);
  return { path, versions };
}

async function build(
  distribution: Distribution,
  versions: readonly VersionPlan[],
  path: string,
  say: Say,
): Promise<void> {
  const scratch = await mkdtemp(`${path}.`);
  try {
    const repository = join(scratch, 'repo');
    await initialiseRepository(repository);
    for (const version of versions) {
      say(`making a Debian ${distribution.codename}: ${version.title}`);
      const root = join(scratch, version.branch);
      await bootstrapRoot(distribution, root, version.packages, {
        include: KEPT,
        sources: await derivedSources(distribution, version.suites, scratch),
        aptOptions: version.defaultRelease === undefined ? [] : [`APT::Default-Release "${version.defaultRelease}";`],
        environment: { SOURCE_DATE_EPOCH },
      });
      await toDeployment(root);
      if (version.branch === BASE.branch) await commitTree(repository, BASE.branch, root, BASE.branch);
      await configure(root);
      const { branch } = version.branch === BASE.branch ? CONFIGURED : version;
      await commitTree(repository, branch, root, branch);
      await rm(root, { recursive: true });
    }
    await rename(repository, path);
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

/** The machine's sources of the release, for other suites from the same place. */
async function derivedSources(
  distribution: Distribution,
  suites: readonly string[],
  folder: string,
): Promise<readonly string[]> {
  if (suites.length === 0) return [];
  const texts = await Promise.all((await distributionSources(distribution)).map((path) => readFile(path, 'utf8')));
  const stanzas = texts.flatMap((text) => text.split(/\n\s*\n/));
  const own = stanzas.find((stanza) => new RegExp(`^Suites:.*\\b${distribution.codename}(\\s|$)`, 'm').test(stanza));
  if (own === undefined) {
    throw new SetupError(
      'INSTALL_FAILED',
      `No .sources file has the suite ${distribution.codename}; see sources.list(5).`,
    );
  }
  await mkdir(folder, { recursive: true });
  const path = join(folder, 'derived.sources');
  await writeFile(path, `${own.replace(/^Suites:.*$/m, `Suites: ${suites.join(' ')}`)}\n`);
  return [path];
}

/** The layout of an OSTree deployment, with the initramfs that the packages made. */
async function toDeployment(root: string): Promise<void> {
  const images = (await readdir(join(root, 'boot'))).filter((name) => name.startsWith('initrd.img-'));
  for (const name of images) {
    const version = name.slice('initrd.img-'.length);
    await rename(join(root, 'boot', name), join(kernelFolder(root, version), 'initramfs.img'));
  }
  for (const folder of ['etc/ssh', 'etc/iscsi']) {
    const names = (await readdir(join(root, folder))).map((name) => `${folder}/${name}`);
    for (const path of names.filter((name) => SECRETS.some((secret) => secret.test(name)))) await rm(join(root, path));
  }
  await collectKernels(root);
  await convertToOSTreeLayout(root);
}

async function configure(root: string): Promise<void> {
  for (const [path, text] of Object.entries(CONFIGURATION)) await writeFile(join(root, path), text);
}
