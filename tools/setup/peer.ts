/**
 * The peer: `ostree-ext`'s own command line, compiled from the crate that tools/ostree-ext pins. It judges whether what
 * we write can be read by others, and races us in the benchmarks. A second program prints how the crate packs.
 */
import { copyFile, readFile, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { cacheKey, ensureCacheFolder } from './cache.ts';
import { runCommand, tryCommand } from './command.ts';
import { candidateVersion, ensurePackages } from './debian-packages.ts';
import type { DebianPackage } from './debian-packages.ts';
import { SetupError } from './errors.ts';
import { findExecutable, isExecutable } from './executable.ts';
import { withLock } from './lock.ts';
import type { Say } from './say.ts';

const NAME = 'ostree-ext-peer';
const PACKING = 'ostree-ext-packing';
/** What the crate tests its packing with: the packages of a Fedora CoreOS. */
const COMPONENTS = 'fedora-coreos-contentmeta.json.gz';
/** The newest `rust-version` among the pinned crates; an older cargo refuses them. */
const OLDEST_CARGO = { major: 1, minor: 89 };

const LIBRARIES: readonly DebianPackage[] = [
  { name: 'libostree-dev', reason: `${NAME}, the peer in interoperability tests, links with libostree` },
  { name: 'libzstd-dev', reason: `${NAME} links with libzstd` },
  { name: 'libssl-dev', reason: `${NAME} links with OpenSSL` },
  { name: 'pkg-config', reason: `${NAME} finds its libraries with it` },
  { name: 'gcc', reason: `${NAME} is linked by it` },
  { name: 'libc6-dev', reason: `${NAME} is linked with the C library` },
];

/** Debian's packages of Rust, newest first: the `-web` ones follow what browsers need and are years ahead. */
const RUST_PACKAGES: readonly { readonly cargo: string; readonly rustc: string }[] = [
  { cargo: 'cargo-web', rustc: 'rustc-web' },
  { cargo: 'cargo', rustc: 'rustc' },
];

/**
 * Path of the peer's program, built on first use.
 * @throws SetupError
 */
export async function ensurePeer(say: Say): Promise<string> {
  const source = fileURLToPath(new URL('../ostree-ext/', import.meta.url));
  const inputs = ['Cargo.toml', 'Cargo.lock', join('src', 'main.rs'), join('src', 'bin', `${PACKING}.rs`)];
  const contents = await Promise.all(inputs.map(async (name) => readFile(join(source, name))));
  const key = cacheKey([...contents, process.arch]);
  const cached = join(await ensureCacheFolder('peer', key), NAME);
  // Compiled against the libostree of another machine it would not start.
  const usable = async () => (await isExecutable(cached)) && (await tryCommand(cached, ['--help'])).code === 0;
  if (await usable()) return cached;
  return withLock('peer', say, async () => {
    if (await usable()) return cached;
    await ensurePackages(LIBRARIES, say);
    await compile(await ensureCargo(say), source, cached, say);
    return cached;
  });
}

export interface PeerPacking {
  /** Path of the program that prints how the peer packs components; its source says what it reads. */
  readonly program: string;
  /** Path of the peer's own example of components, as gzip of JSON. */
  readonly components: string;
}

/**
 * What judges our packing, built with the peer.
 * @throws SetupError
 */
export async function ensurePeerPacking(say: Say): Promise<PeerPacking> {
  const folder = dirname(await ensurePeer(say));
  return { program: join(folder, PACKING), components: join(folder, COMPONENTS) };
}

function isRecentEnough(version: string): boolean {
  const match = /(\d+)\.(\d+)/.exec(version);
  if (match === null) return false;
  const [major, minor] = [Number(match[1]), Number(match[2])];
  return major > OLDEST_CARGO.major || (major === OLDEST_CARGO.major && minor >= OLDEST_CARGO.minor);
}

async function ensureCargo(say: Say): Promise<string> {
  const onPath = await findExecutable('cargo');
  if (onPath !== undefined && isRecentEnough((await tryCommand(onPath, ['--version'])).stdout)) return onPath;
  for (const { cargo, rustc } of RUST_PACKAGES) {
    const version = await candidateVersion(cargo);
    if (version !== undefined && isRecentEnough(version)) {
      await ensurePackages(
        [
          { name: rustc, reason: `it compiles ${NAME}` },
          { name: cargo, reason: `it builds ${NAME} from its pinned crates` },
        ],
        say,
      );
      // A too old cargo may come first on the PATH; Debian's is here.
      return '/usr/bin/cargo';
    }
  }
  throw new SetupError(
    'INSTALL_FAILED',
    `${NAME} needs cargo ${OLDEST_CARGO.major}.${OLDEST_CARGO.minor} or later and this distribution has none: ` +
      'install Rust yourself so that cargo is on the PATH, then run this again.',
  );
}

async function compile(cargo: string, source: string, output: string, say: Say): Promise<void> {
  say(`Building ${NAME} from its pinned crates, as a judge of interoperability: about 4 minutes, once.`);
  const target = `${output}.target`;
  const unfinished = `${output}.${process.pid}.tmp`;
  const place = async (from: string, to: string) => {
    await copyFile(from, unfinished);
    await rename(unfinished, to);
  };
  try {
    await runCommand(cargo, ['build', '--release', '--locked', '--target-dir', target], { cwd: source });
    const crate = await crateFolder(cargo, source);
    await place(join(crate, 'src', 'fixtures', COMPONENTS), join(dirname(output), COMPONENTS));
    await place(join(target, 'release', PACKING), join(dirname(output), PACKING));
    // Last: where it is, the others are.
    await place(join(target, 'release', NAME), output);
    await rm(target, { recursive: true, force: true });
  } catch (error) {
    throw new SetupError(
      'INSTALL_FAILED',
      `${NAME} could not be built. Check that the crate registry can be reached, then run this again; what is compiled ` +
        `so far is kept. ${error instanceof Error ? error.message : String(error)}`,
      { cause: error },
    );
  } finally {
    await rm(unfinished, { force: true });
  }
}

/** Where cargo keeps the source of the peer's crate. */
async function crateFolder(cargo: string, source: string): Promise<string> {
  const text = await runCommand(cargo, ['metadata', '--locked', '--format-version', '1'], { cwd: source });
  const { packages } = JSON.parse(text) as { packages: readonly { name: string; manifest_path: string }[] };
  const crate = packages.find(({ name }) => name === 'ostree-ext');
  if (crate === undefined) throw new Error('cargo does not know the crate ostree-ext');
  return dirname(crate.manifest_path);
}
