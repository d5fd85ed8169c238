/**
 * A Go recent enough to build Kubernetes. Distributions lag by years, but the Go module proxy serves whole toolchains as
 * the module `golang.org/toolchain`, which even an old Go can download and whose hash we pin.
 */
import { chmod, mkdtemp, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ensureCacheFolder } from './cache.ts';
import { runCommand, tryCommand } from './command.ts';
import { ensurePackages } from './debian-packages.ts';
import { SetupError } from './errors.ts';
import { findExecutable, isExecutable } from './executable.ts';
import { withLock } from './lock.ts';
import type { Say } from './say.ts';

/** Kubernetes 1.36 asks for it in its go.mod; an older Go refuses to build it. */
const OLDEST_GO = { major: 1, minor: 26 };
const PINNED_GO = '1.26.8';

/** Module hashes (`h1:`) of golang.org/toolchain@v0.0.1-go1.26.8.linux-*, as the Go checksum database has them. */
const TOOLCHAIN_SUM: Readonly<Record<string, string>> = {
  amd64: 'h1:ZOmGe1OnfREDMIdb1Qi4G9JSuDPBLGExZMQ4nis1RXM=',
  arm64: 'h1:sYL/O6MqS68ML0kjsQ36WoYIpJqkw60TxizWUYUKQMc=',
};

/**
 * Path of a `go` command that can build the pinned tools, installed if need be.
 * @throws SetupError
 */
export async function ensureGo(say: Say): Promise<string> {
  const onPath = await findExecutable('go');
  if (onPath !== undefined && (await isRecentEnough(onPath))) return onPath;
  const folder = join(await ensureCacheFolder('go'), PINNED_GO);
  const cached = join(folder, 'bin', 'go');
  if (await isExecutable(cached)) return cached;
  return withLock('go', say, async () => {
    if (!(await isExecutable(cached))) await downloadToolchain(await ensureAnyGo(onPath, say), folder, say);
    return cached;
  });
}

async function isRecentEnough(go: string): Promise<boolean> {
  // GOTOOLCHAIN=local: which version this Go is, not which one it could fetch.
  const { stdout } = await tryCommand(go, ['version'], { env: { GOTOOLCHAIN: 'local' } });
  const version = /\bgo(\d+)\.(\d+)/.exec(stdout);
  if (version === null) return false;
  const [major, minor] = [Number(version[1]), Number(version[2])];
  return major > OLDEST_GO.major || (major === OLDEST_GO.major && minor >= OLDEST_GO.minor);
}

async function ensureAnyGo(onPath: string | undefined, say: Say): Promise<string> {
  if (onPath !== undefined) return onPath;
  await ensurePackages(
    [{ name: 'golang-go', reason: `an older Go that fetches Go ${PINNED_GO} from the module proxy` }],
    say,
  );
  const go = await findExecutable('go');
  if (go === undefined) throw new SetupError('INSTALL_FAILED', 'golang-go is installed, but go is not on the PATH.');
  return go;
}

async function downloadToolchain(go: string, folder: string, say: Say): Promise<void> {
  const architecture = process.arch === 'x64' ? 'amd64' : process.arch;
  const sum = TOOLCHAIN_SUM[architecture];
  if (sum === undefined) {
    throw new SetupError(
      'UNSUPPORTED_MACHINE',
      `No Go ${PINNED_GO} is pinned for ${process.arch}: put Go ${OLDEST_GO.major}.${OLDEST_GO.minor} or later on the PATH.`,
    );
  }
  const module = `golang.org/toolchain@v0.0.1-go${PINNED_GO}.linux-${architecture}`;
  say(`Fetching Go ${PINNED_GO} from the Go module proxy (about 70 MB): the test control plane is built with it.`);
  const scratch = await mkdtemp(`${folder}.`);
  try {
    // An old Go will not add a requirement outside a module.
    await writeFile(join(scratch, 'go.mod'), 'module treeline.dev/tools/go\n\ngo 1.18\n');
    const json = await runCommand(go, ['mod', 'download', '-json', module], {
      cwd: scratch,
      env: { GOMODCACHE: join(scratch, 'modules'), GOFLAGS: '-modcacherw', GOTOOLCHAIN: 'local', GOWORK: 'off' },
    });
    const answer = JSON.parse(json) as { readonly Dir: string; readonly Sum: string };
    if (answer.Sum !== sum) {
      throw new SetupError(
        'INSTALL_FAILED',
        `${module} has the hash ${answer.Sum}, but ${sum} is pinned: do not use it.`,
      );
    }
    await markExecutable(answer.Dir, architecture);
    await rename(answer.Dir, folder);
  } catch (error) {
    if (error instanceof SetupError && error.code !== 'COMMAND_FAILED') throw error;
    throw new SetupError(
      'INSTALL_FAILED',
      `Go ${PINNED_GO} could not be fetched as ${module}. Check GOPROXY and the network, or put Go ` +
        `${OLDEST_GO.major}.${OLDEST_GO.minor} or later on the PATH, then run this again. ` +
        (error instanceof Error ? error.message : String(error)),
      { cause: error },
    );
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

/** Module archives carry no file modes; the `go` command itself sets these when it switches toolchains. */
async function markExecutable(goRoot: string, architecture: string): Promise<void> {
  for (const folder of [join(goRoot, 'bin'), join(goRoot, 'pkg', 'tool', `linux_${architecture}`)]) {
    for (const name of await readdir(folder)) await chmod(join(folder, name), 0o755);
  }
}
