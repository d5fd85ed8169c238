/**
 * The container image of Treeline, built by buildah from the project's Dockerfile. No registry of base images can be relied
 * on, so the base that the Dockerfile names is made here, under the same name in a store of buildah's of our own: a minimal
 * system of the machine's distribution with the Node of the lock file and this machine's npm.
 */
import { existsSync } from 'node:fs';
import { cp, mkdir, mkdtemp, readFile, realpath, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { cacheKey, ensureCacheFolder } from '../../tools/setup/cache.ts';
import { runCommand } from '../../tools/setup/command.ts';
import { SetupError } from '../../tools/setup/errors.ts';
import { findExecutable } from '../../tools/setup/executable.ts';
import { withLock } from '../../tools/setup/lock.ts';
import type { Say } from '../../tools/setup/say.ts';
import { bootstrapRoot, UNWANTED } from '../debian-root.ts';
import { readDistribution } from '../distribution.ts';

const ROOT = join(import.meta.dirname, '..', '..');

/** Change it whenever the base that the code below makes changes: it is part of the cache key. */
const RECIPE = 2;
/** What Node's own image has beside Node. */
const PACKAGES = ['ca-certificates', 'libatomic1', 'libstdc++6'];

/** As every image of a distribution has it. */
const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
/** The same: apt's caches are of no use in a layer. */
const APT = 'Dir::Cache::pkgcache "";\nDir::Cache::srcpkgcache "";\nAPT::Keep-Downloaded-Packages "false";\n';

/** Of all files and of the image, in seconds: any will do, so long as it is always the same. */
const BUILD_TIME = 1_700_000_000;

/** The base once more, as what holds the namespaces of a pod open: nodes have its layer already. */
const PAUSE = 'localhost/pause:1';

export interface ContainerImage {
  /** What the Dockerfile begins from. */
  readonly base: string;
  /** A folder of the cache. */
  readonly store: string;
  /** buildah, with the arguments that name the store. */
  readonly buildah: readonly string[];
  /** As the manifests have it. */
  readonly name: string;
  readonly tag: string;
}

/** The image of this checkout; `buildContainerImage` must have built it. */
export async function containerImage(): Promise<ContainerImage> {
  const dockerfile = await readFile(join(ROOT, 'Dockerfile'), 'utf8');
  const [, base = ''] = /^FROM (\S+)/m.exec(dockerfile) ?? [];
  const [, version = ''] = /^ARG VERSION=(\S+)/m.exec(dockerfile) ?? [];
  const distribution = await readDistribution();
  const key = cacheKey([JSON.stringify([RECIPE, base, distribution, PACKAGES, UNWANTED, process.arch])]);
  const store = join(await ensureCacheFolder('container-image'), key);
  // In mounts of its own: it leaves some behind.
  const buildah = ['unshare', '--mount', 'buildah', '--storage-driver', 'overlay', '--root', join(store, 'root')];
  buildah.push('--runroot', join(store, 'run'));
  return { base, store, buildah, name: 'registry.treeline.dev/treeline', tag: version };
}

/**
 * Builds it: minutes at first, seconds when only sources have changed. Needs the package registries of npm and of the
 * distribution when they have not been asked yet.
 * @throws SetupError
 */
export async function buildContainerImage(say: Say): Promise<void> {
  await onItsBase(say, async (image) => {
    say('Building the container image from the Dockerfile: a few minutes at first, then seconds.');
    await build(image, { tag: image.tag, flags: ['--layers'] });
  });
}

/**
 * Builds the image that OSImageBuilds are made in upon the other one, which is built first. Returns its name and tag.
 * @throws SetupError
 */
export async function buildBuilderImage(say: Say): Promise<string> {
  await buildContainerImage(say);
  return await onItsBase(say, async (image) => {
    const name = `${image.name}-builder`;
    await build({ ...image, name }, { tag: image.tag, flags: ['--layers'], dockerfile: 'Dockerfile.builder' });
    return `${name}:${image.tag}`;
  });
}

/**
 * Builds it under another tag, from nothing but its base and packages, and as the Dockerfile says it is done. Returns its digest.
 * @throws SetupError
 */
export async function buildContainerImageAfresh(say: Say, tag: string): Promise<string> {
  return await onItsBase(say, async (image) => {
    await build(image, { tag, flags: ['--no-cache'] });
    const [program = '', ...store] = image.buildah;
    const name = `${image.name}:${tag}`;
    const digest = await runCommand(program, [
      ...store,
      'inspect',
      '--type=image',
      '--format={{.FromImageDigest}}',
      name,
    ]);
    await runCommand(program, [...store, 'rmi', name]);
    return digest.trim();
  });
}

/** One at a time, with a base to begin from. */
async function onItsBase<Result>(say: Say, act: (image: ContainerImage) => Promise<Result>): Promise<Result> {
  const image = await containerImage();
  return await withLock('container-image', say, async () => {
    if (!existsSync(image.store)) await makeBase(image, say);
    return await act(image);
  });
}

/**
 * Pushes it, and the image that holds pods open as `pause:1`, to a registry that speaks plain HTTP; uncompressed, which saves
 * more time than the loopback takes.
 */
export async function pushContainerImages({ buildah, name, tag }: ContainerImage, registry: string): Promise<void> {
  const [program = '', ...store] = buildah;
  const push = ['push', '--quiet', '--tls-verify=false', '--disable-compression'];
  await runCommand(program, [...store, ...push, PAUSE, `docker://${registry}/pause:1`]);
  await runCommand(program, [...store, ...push, `${name}:${tag}`, `docker://${registry}/treeline:${tag}`]);
}

async function makeBase({ base, store, buildah }: ContainerImage, say: Say): Promise<void> {
  if (process.getuid?.() !== 0) {
    throw new SetupError('NEEDS_ROOT', 'Making a base image needs root: its files belong to many users.');
  }
  say(`Making a base image in the place of ${base}, for the container image: about a minute, once.`);
  const scratch = await mkdtemp(`${store}.`);
  try {
    const root = join(scratch, 'base');
    await bootstrapRoot(await readDistribution(), root, PACKAGES);
    await furnish(root);
    const [program = '', ...rest] = buildah.map((argument) => argument.replace(store, scratch));
    const run = (...parameters: readonly string[]) => runCommand(program, [...rest, ...parameters]);
    const container = (await run('from', 'scratch')).trim();
    await run('add', '--quiet', container, root, '/');
    await run('config', '--cmd', 'node', '--env', `PATH=${PATH}`, container);
    await run('commit', '--quiet', container, `docker.io/library/${base}`);
    await run('config', '--entrypoint', '["/bin/sleep"]', '--cmd', 'infinity', '--user', '65535:65535', container);
    await run('commit', '--quiet', container, PAUSE);
    await run('rm', container);
    await rm(root, { recursive: true });
    await rename(scratch, store);
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

async function furnish(root: string): Promise<void> {
  await writeFile(join(root, 'etc', 'apt', 'apt.conf.d', 'docker-clean'), APT);
  const local = join(root, 'usr', 'local');
  await mkdir(join(local, 'lib', 'node_modules'), { recursive: true });
  await cp(createRequire(import.meta.url).resolve(`node-linux-${process.arch}/bin/node`), join(local, 'bin', 'node'));
  const npm = await findExecutable('npm');
  if (npm === undefined)
    throw new SetupError('UNSUPPORTED_MACHINE', 'npm is not on the PATH, and the base image needs it.');
  await cp(dirname(dirname(await realpath(npm))), join(local, 'lib', 'node_modules', 'npm'), { recursive: true });
  await symlink('../lib/node_modules/npm/bin/npm-cli.js', join(local, 'bin', 'npm'));
}

interface BuildOptions {
  readonly tag: string;
  readonly flags: readonly string[];
  /** Default: `Dockerfile`. */
  readonly dockerfile?: string;
}

/** How this machine reaches the npm registry is lent to the build and does not stay in the image. */
async function build({ buildah, name }: ContainerImage, options: BuildOptions): Promise<void> {
  const { tag, flags, dockerfile = 'Dockerfile' } = options;
  const scratch = await mkdtemp(join(tmpdir(), 'treeline-build-'));
  try {
    const setting = async (key: string) => (await runCommand('npm', ['config', 'get', key])).trim();
    const cafile = await setting('cafile');
    const authority = cafile === 'null' ? process.env['NODE_EXTRA_CA_CERTS'] : cafile;
    const configuration = [
      `registry=${await setting('registry')}`,
      'audit=false',
      'fund=false',
      'update-notifier=false',
    ];
    // That of root in the container.
    const volumes = [`${join(scratch, 'npmrc')}:/root/.npmrc:ro`];
    if (authority !== undefined && authority !== '') {
      volumes.push(`${authority}:/run/npm-authorities.pem:ro`);
      configuration.push('cafile=/run/npm-authorities.pem');
    }
    await writeFile(join(scratch, 'npmrc'), configuration.map((line) => `${line}\n`).join(''));
    const [program = '', ...store] = buildah;
    await runCommand(program, [
      ...store,
      'bud',
      '--quiet',
      '--isolation=chroot',
      '--pull-never',
      `--timestamp=${BUILD_TIME}`,
      ...flags,
      ...volumes.map((volume) => `--volume=${volume}`),
      `--tag=${name}:${tag}`,
      `--file=${join(ROOT, dockerfile)}`,
      ROOT,
    ]);
  } catch (error) {
    throw new SetupError(
      'INSTALL_FAILED',
      'The container image could not be built. Check that the registries of npm and of the distribution can be reached, ' +
        `then run this again. ${error instanceof Error ? error.message : String(error)}`,
      { cause: error },
    );
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}
