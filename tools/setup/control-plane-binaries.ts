/**
 * A real etcd and a real Kubernetes for the tests and the demo, with the kubelet of real nodes. Nobody serves their binaries
 * where only package registries can be reached, so they are compiled, once, from the Go modules pinned in tools/etcd,
 * tools/kubernetes and tools/kubelet.
 */
import { readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { cacheKey, ensureCacheFolder } from './cache.ts';
import { runCommand, tryCommand } from './command.ts';
import { SetupError } from './errors.ts';
import { findExecutable, isExecutable } from './executable.ts';
import { ensureGo } from './go-toolchain.ts';
import { withLock } from './lock.ts';
import type { Say } from './say.ts';

export type ControlPlaneBinary = 'etcd' | 'kube-apiserver' | 'kube-controller-manager' | 'kube-scheduler' | 'kubectl';
/** Of the same version, but not of the control plane. */
export type KubernetesBinary = ControlPlaneBinary | 'kubelet';

const CONTROL_PLANE_BINARIES: readonly ControlPlaneBinary[] = [
  'etcd',
  'kube-apiserver',
  'kube-controller-manager',
  'kube-scheduler',
  'kubectl',
];

interface Build {
  /** Folder of the Go module, below tools/. */
  readonly module: string;
  /** The requirement in its go.mod that carries the version. */
  readonly requirement: string;
  readonly package: string;
  /** How to ask a binary found on the PATH for its version; the answer must contain it as a word. */
  readonly versionArguments: readonly string[];
  /** Told before the first build, measured on two cores. */
  readonly duration: string;
}

function kubernetes(command: string, duration: string, versionArguments: readonly string[] = ['--version']): Build {
  const requirement = 'k8s.io/kubernetes';
  return {
    module: 'kubernetes',
    requirement,
    package: `${requirement}/cmd/${command}`,
    versionArguments,
    duration,
  };
}

const BUILDS: Readonly<Record<KubernetesBinary, Build>> = {
  etcd: {
    module: 'etcd',
    requirement: 'go.etcd.io/etcd/server/v3',
    package: 'go.etcd.io/etcd/server/v3',
    versionArguments: ['--version'],
    duration: 'about 1 minute',
  },
  'kube-apiserver': kubernetes('kube-apiserver', 'about 6 minutes'),
  'kube-controller-manager': kubernetes('kube-controller-manager', 'about 1 minute after kube-apiserver'),
  'kube-scheduler': kubernetes('kube-scheduler', 'about 1 minute after kube-apiserver'),
  kubectl: kubernetes('kubectl', 'about 1 minute after kube-apiserver', ['version', '--client', '--output=json']),
  // A module of its own, for what nodes need would have everybody build the control plane anew.
  kubelet: { ...kubernetes('kubelet', 'about 1 minute after kube-apiserver'), module: 'kubelet' },
};

/** No C compiler needed, and the same binary on every distribution. */
const BUILD_ENVIRONMENT = { CGO_ENABLED: '0', GOTOOLCHAIN: 'local', GOWORK: 'off', GOFLAGS: '-mod=readonly' };

function buildFlags(version: string): readonly string[] {
  const [major, minor] = version.split('.');
  // Without these a Kubernetes binary calls itself v0.0.0 and its feature gates go wrong.
  const variables = [`gitVersion=v${version}`, `gitMajor=${major}`, `gitMinor=${minor}`];
  const linker = ['-s', '-w', ...variables.flatMap((one) => ['-X', `k8s.io/component-base/version.${one}`])];
  return ['-trimpath', '-buildvcs=false', '-ldflags', linker.join(' ')];
}

function moduleFolder(build: Build): string {
  return fileURLToPath(new URL(`../${build.module}/`, import.meta.url));
}

/** The pinned version, without `v`. */
async function pinnedVersion(build: Build): Promise<string> {
  const goMod = await readFile(join(moduleFolder(build), 'go.mod'), 'utf8');
  const line = goMod.split('\n').find((one) => one.trim().startsWith(`${build.requirement} v`));
  const version = line === undefined ? undefined : / v(\d+\.\d+\.\d+)/.exec(line)?.[1];
  if (version === undefined) {
    throw new SetupError('INSTALL_FAILED', `tools/${build.module}/go.mod requires no version of ${build.requirement}.`);
  }
  return version;
}

/**
 * Path of one binary: from `KUBEBUILDER_ASSETS`, the cache, or the PATH if it is the pinned version there;
 * else it is built. Instant once built.
 * @throws SetupError
 */
export async function ensureKubernetesBinary(name: KubernetesBinary, say: Say): Promise<string> {
  const assets = process.env['KUBEBUILDER_ASSETS'];
  if (assets !== undefined && assets !== '' && (await isExecutable(join(assets, name)))) return join(assets, name);

  const build = BUILDS[name];
  const version = await pinnedVersion(build);
  const flags = buildFlags(version);
  const key = cacheKey([
    await readFile(join(moduleFolder(build), 'go.mod')),
    await readFile(join(moduleFolder(build), 'go.sum')),
    JSON.stringify([flags, BUILD_ENVIRONMENT, process.arch]),
  ]);
  const cached = join(await ensureCacheFolder('control-plane', key), name);
  if (await isExecutable(cached)) return cached;

  const onPath = await findExecutable(name);
  if (onPath !== undefined && (await saysVersion(onPath, build, version))) return onPath;

  return withLock('control-plane', say, async () => {
    if (!(await isExecutable(cached))) await compile({ name, build, version, flags, output: cached }, say);
    return cached;
  });
}

/**
 * All of them, one after the other: a Go build uses every core by itself.
 * @throws SetupError
 */
export async function ensureControlPlane(say: Say): Promise<void> {
  for (const name of CONTROL_PLANE_BINARIES) await ensureKubernetesBinary(name, say);
}

async function saysVersion(path: string, build: Build, version: string): Promise<boolean> {
  const { stdout } = await tryCommand(path, build.versionArguments);
  return new RegExp(`(^|[^\\d.])v?${version.replaceAll('.', '\\.')}($|[^\\d.])`, 'm').test(stdout);
}

interface Compilation {
  readonly name: KubernetesBinary;
  readonly build: Build;
  readonly version: string;
  readonly flags: readonly string[];
  readonly output: string;
}

async function compile({ name, build, version, flags, output }: Compilation, say: Say): Promise<void> {
  const go = await ensureGo(say);
  say(`Building ${name} ${version} from its pinned Go module, for the tests: ${build.duration}, once.`);
  const unfinished = `${output}.${process.pid}.tmp`;
  try {
    await runCommand(go, ['build', ...flags, '-o', unfinished, build.package], {
      cwd: moduleFolder(build),
      env: BUILD_ENVIRONMENT,
    });
    await rename(unfinished, output);
  } catch (error) {
    throw new SetupError(
      'INSTALL_FAILED',
      `${name} ${version} could not be built. If the Go module proxy cannot be reached, put ready binaries into a folder ` +
        `and set KUBEBUILDER_ASSETS to it. ${error instanceof Error ? error.message : String(error)}`,
      { cause: error },
    );
  } finally {
    await rm(unfinished, { force: true });
  }
}
