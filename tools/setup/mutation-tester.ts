/** The mutation tester that tools/mutation pins, installed outside of the tree: it brings 200 packages that nothing else needs. */
import { cp, readFile, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { cacheKey, ensureCacheFolder } from './cache.ts';
import { runCommand } from './command.ts';
import { SetupError } from './errors.ts';
import { isExecutable } from './executable.ts';
import { withLock } from './lock.ts';
import type { Say } from './say.ts';

const PINS = ['package.json', 'package-lock.json'];

/**
 * Folder of the packages, installed on first use.
 * @throws SetupError
 */
export async function ensureMutationTester(say: Say): Promise<string> {
  const source = fileURLToPath(new URL('../mutation/', import.meta.url));
  const inputs = await Promise.all(PINS.map((name) => readFile(join(source, name))));
  const folder = join(await ensureCacheFolder('mutation'), cacheKey(inputs));
  const packages = join(folder, 'node_modules');
  const program = join(packages, '@stryker-mutator/core/bin/stryker.js');
  if (await isExecutable(program)) return packages;
  return withLock('mutation', say, async () => {
    if (!(await isExecutable(program))) await install(source, folder, say);
    return packages;
  });
}

async function install(source: string, folder: string, say: Say): Promise<void> {
  say('Installing the mutation tester from its lock file: about 20 seconds, once.');
  const unfinished = join(dirname(folder), `unfinished-${process.pid}`);
  try {
    for (const name of PINS) await cp(join(source, name), join(unfinished, name), { recursive: true });
    await runCommand('npm', ['ci', '--no-audit', '--no-fund'], { cwd: unfinished });
    await rm(folder, { recursive: true, force: true });
    await rename(unfinished, folder);
  } catch (error) {
    throw new SetupError(
      'INSTALL_FAILED',
      'The mutation tester could not be installed. Check that the npm registry can be reached, then run this again. ' +
        (error instanceof Error ? error.message : String(error)),
      { cause: error },
    );
  } finally {
    await rm(unfinished, { recursive: true, force: true });
  }
}
