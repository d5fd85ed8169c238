/**
 * The writer of zstd:chunked layers that podman, buildah and skopeo have, compiled from the Go module that
 * tools/zstd-chunked pins: a judge of what we read. Debian's own skopeo writes the form of 2022.
 */
import { readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { cacheKey, ensureCacheFolder } from './cache.ts';
import { runCommand } from './command.ts';
import { SetupError } from './errors.ts';
import { isExecutable } from './executable.ts';
import { ensureGo } from './go-toolchain.ts';
import { withLock } from './lock.ts';
import type { Say } from './say.ts';

const NAME = 'zstd-chunked-writer';
const BUILD_ENVIRONMENT = { CGO_ENABLED: '0', GOTOOLCHAIN: 'local', GOWORK: 'off', GOFLAGS: '-mod=readonly' };

/**
 * Path of the program, built on first use. It reads a tar archive and writes the layer, and to standard error the
 * annotations of its descriptor.
 * @throws SetupError
 */
export async function ensureZstdChunkedWriter(say: Say): Promise<string> {
  const source = fileURLToPath(new URL('../zstd-chunked/', import.meta.url));
  const inputs = await Promise.all(['go.mod', 'go.sum', 'main.go'].map((name) => readFile(join(source, name))));
  const key = cacheKey([...inputs, process.arch]);
  const cached = join(await ensureCacheFolder('zstd-chunked', key), NAME);
  if (await isExecutable(cached)) return cached;
  return withLock('zstd-chunked', say, async () => {
    if (!(await isExecutable(cached))) await compile(await ensureGo(say), source, cached, say);
    return cached;
  });
}

async function compile(go: string, source: string, output: string, say: Say): Promise<void> {
  say(`Building ${NAME} from its pinned Go module, as a judge of zstd:chunked layers: about 15 seconds, once.`);
  const unfinished = `${output}.${process.pid}.tmp`;
  try {
    await runCommand(go, ['build', '-trimpath', '-buildvcs=false', '-o', unfinished, '.'], {
      cwd: source,
      env: BUILD_ENVIRONMENT,
    });
    await rename(unfinished, output);
  } catch (error) {
    throw new SetupError(
      'INSTALL_FAILED',
      `${NAME} could not be built. Check that the Go module proxy can be reached, then run this again. ` +
        (error instanceof Error ? error.message : String(error)),
      { cause: error },
    );
  } finally {
    await rm(unfinished, { force: true });
  }
}
