/** A program compiled once from a Go module that stands pinned below tools/, for judges that no registry has ready. */
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

const BUILD_ENVIRONMENT = { CGO_ENABLED: '0', GOTOOLCHAIN: 'local', GOWORK: 'off', GOFLAGS: '-mod=readonly' };

export interface GoProgram {
  /** Folder below tools/ with go.mod, go.sum and main.go; also that of the cache. */
  readonly folder: string;
  readonly name: string;
  /** Completes "Building NAME from its pinned Go module, as …". */
  readonly purpose: string;
  /** Told before the first build, measured on two cores. */
  readonly duration: string;
  readonly tags?: readonly string[];
  /** Below the folder; by default the folder itself. */
  readonly package?: string;
}

/**
 * Path of the program, built on first use.
 * @throws SetupError
 */
export async function ensureGoProgram(program: GoProgram, say: Say): Promise<string> {
  const source = fileURLToPath(new URL(`../${program.folder}/`, import.meta.url));
  const main = join(program.package ?? '.', 'main.go');
  const inputs = await Promise.all(['go.mod', 'go.sum', main].map((name) => readFile(join(source, name))));
  const cached = join(await ensureCacheFolder(program.folder, cacheKey([...inputs, process.arch])), program.name);
  if (await isExecutable(cached)) return cached;
  return withLock(program.folder, say, async () => {
    if (!(await isExecutable(cached))) await compile(program, source, cached, say);
    return cached;
  });
}

async function compile(
  { name, purpose, duration, tags = [], package: path = '.' }: GoProgram,
  source: string,
  output: string,
  say: Say,
): Promise<void> {
  const go = await ensureGo(say);
  say(`Building ${name} from its pinned Go module, as ${purpose}: ${duration}, once.`);
  const unfinished = `${output}.${process.pid}.tmp`;
  try {
    await runCommand(
      go,
      ['build', '-trimpath', '-buildvcs=false', '-tags', tags.join(','), '-o', unfinished, `./${path}`],
      {
        cwd: source,
        env: BUILD_ENVIRONMENT,
      },
    );
    await rename(unfinished, output);
  } catch (error) {
    throw new SetupError(
      'INSTALL_FAILED',
      `${name} could not be built. Check that the Go module proxy can be reached, then run this again. ` +
        (error instanceof Error ? error.message : String(error)),
      { cause: error },
    );
  } finally {
    await rm(unfinished, { force: true });
  }
}
