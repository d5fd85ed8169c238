/**
 * What each tier of tests, the demo and the benchmarks stand on, made ready: instant when everything is there.
 * `npm run setup`, `npm test` and `npm run demo` all come through here.
 */
import { ensureContainersPolicy } from './containers-policy.ts';
import { ensureControlPlane, ensureKubernetesBinary } from './control-plane-binaries.ts';
import { ensureCosign, ensureSigstoreStandIn } from './cosign.ts';
import { ensurePackages } from './debian-packages.ts';
import type { DebianPackage } from './debian-packages.ts';
import { ensurePeer } from './peer.ts';
import type { Say } from './say.ts';
import { ensureSelinuxPolicy } from './selinux-policy.ts';
import { ensureZstdChunkedWriter } from './zstd-chunked-writer.ts';

export { ensureContainersPolicy } from './containers-policy.ts';
export { ensureCosign, ensureSigstoreStandIn } from './cosign.ts';
export { SetupError } from './errors.ts';
export { ensurePeer, ensurePeerPacking } from './peer.ts';
export { sayOnStandardError } from './say.ts';
export type { Say } from './say.ts';
export { ensureSelinuxPolicy, type SelinuxPolicy } from './selinux-policy.ts';
export { ensureZstdChunkedWriter } from './zstd-chunked-writer.ts';

/**
 * `cluster`: tests on the control plane. `interop`: tests against the host's ostree, a registry and the peer. `faults`:
 * both. `vm`: a virtual machine. `nodes`: real kubelets. `demo`: what `npm run demo` needs. `bench`: what the benchmarks need.
 */
export type Tier = 'cluster' | 'interop' | 'faults' | 'vm' | 'nodes' | 'demo' | 'bench';
export const TIERS: readonly Tier[] = ['cluster', 'interop', 'faults', 'vm', 'nodes', 'demo', 'bench'];

interface TieredPackage extends DebianPackage {
  readonly tiers: readonly Tier[];
}

const PACKAGES: readonly TieredPackage[] = [
  {
    name: 'ostree',
    reason: "the host's own tool deploys and checks the nodes' repositories",
    tiers: ['interop', 'faults', 'vm', 'nodes', 'demo', 'bench'],
  },
  {
    name: 'docker-registry',
    reason: 'a real OCI registry, started on loopback only while tests or the demo run',
    tiers: ['cluster', 'interop', 'faults', 'vm', 'nodes', 'demo', 'bench'],
  },
  {
    name: 'mmdebstrap',
    reason: 'it makes the operating system that the images hold',
    tiers: ['vm', 'nodes', 'demo', 'bench'],
  },
  { name: 'skopeo', reason: 'a judge of the images that Treeline writes', tiers: ['interop', 'bench'] },
  { name: 'podman', reason: 'a reader of containers-storage where there is no skopeo', tiers: ['interop'] },
  {
    name: 'buildah',
    reason: 'it builds the Containerfiles that `treeline compose` is given, and the container image of real nodes',
    tiers: ['interop', 'cluster', 'nodes'],
  },
  { name: 'iproute2', reason: 'it makes the network that real nodes are in', tiers: ['nodes'] },
  { name: 'gpg', reason: 'it signs images for policies of the host', tiers: ['interop'] },
  { name: 'openssl', reason: 'it makes the certificate of a registry that speaks TLS', tiers: ['interop'] },
  { name: 'umoci', reason: 'it makes derived images that are not of our own making', tiers: ['interop'] },
  {
    name: 'xfsprogs',
    reason: 'it makes the file systems of disks that fail or lose power',
    tiers: ['interop', 'faults'],
  },
  { name: 'btrfs-progs', reason: 'it makes the file systems of disks that lose power', tiers: ['interop', 'faults'] },
  { name: 'strace', reason: 'it kills an import at a chosen system call', tiers: ['interop', 'faults'] },
  {
    name: 'libisal2',
    reason: 'with it, gzip layers are decompressed faster than by zlib',
    tiers: ['interop', 'faults', 'demo', 'bench'],
  },
  {
    name: 'rpm',
    reason: 'it makes package databases that are not of our own making, and says who owns a file',
    tiers: ['interop'],
  },
  { name: 'pacman-package-manager', reason: 'the same for the packages of Arch', tiers: ['interop'] },
  { name: 'qemu-system-x86', reason: 'it is the machine that boots what was installed', tiers: ['vm'] },
  {
    name: 'binutils',
    reason: 'it takes out of the programs of that machine what nobody there reads',
    tiers: ['vm'],
  },
  { name: 'fdisk', reason: 'treeline install divides disks with it', tiers: ['interop', 'vm'] },
  {
    name: 'extlinux',
    reason: 'the boot loader that treeline install puts on disks',
    tiers: ['interop', 'vm'],
  },
  {
    name: 'syslinux-common',
    reason: 'it has the boot code that treeline install puts on disks',
    tiers: ['interop', 'vm'],
  },
  { name: 'attr', reason: 'it sets and reads the extended attributes that imports must keep', tiers: ['interop'] },
];

/**
 * Makes everything ready that the tiers need: Debian packages, the test control plane, an SELinux policy, the peer and other judges.
 * @throws SetupError with one sentence that says what is missing and how to go on
 */
export async function ensureAll(say: Say, tiers: readonly Tier[] = TIERS): Promise<void> {
  const wanted = new Set(tiers);
  await ensurePackages(
    PACKAGES.filter((one) => one.tiers.some((tier) => wanted.has(tier))),
    say,
  );
  if (['cluster', 'faults', 'vm', 'nodes', 'demo'].some((tier) => wanted.has(tier as Tier)))
    await ensureControlPlane(say);
  if (wanted.has('nodes')) await ensureKubernetesBinary('kubelet', say);
  if (wanted.has('interop')) await ensureSelinuxPolicy(say);
  if (wanted.has('interop') || wanted.has('faults') || wanted.has('bench')) await ensurePeer(say);
  if (wanted.has('interop')) await ensureZstdChunkedWriter(say);
  if (wanted.has('interop')) {
    await ensureCosign(say);
    await ensureSigstoreStandIn(say);
    await ensureContainersPolicy(say);
  }
}
