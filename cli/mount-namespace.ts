/**
 * A booted host mounts `/sysroot` read-only. As the other host tools do, a command that writes there runs itself once
 * more in a mount namespace of its own, where the remount is seen by nobody else (unshare(1), mount_namespaces(7)).
 */
import { spawn } from 'node:child_process';
import { realpathSync } from 'node:fs';
import { once } from 'node:events';
import process from 'node:process';
import { isReadOnly } from '../node-agent/index.ts';
import { EXIT } from './errors.ts';

/** Set for the second run, so that a remount that does not help ends in an error instead of a loop. */
const MARK = 'TREELINE_MOUNT_NAMESPACE';
/** By either path, as `/ostree` links to `sysroot/ostree`. */
const HOST_REPOSITORIES: ReadonlySet<string> = new Set(['/ostree/repo', '/sysroot/ostree/repo']);
const REMOUNT = 'mount -o remount,rw /sysroot && exec "$@"';

/** Runs `work` here if the sysroot is writable or not ours to remount; else in the second run, whose status it returns. */
export async function inWritableNamespace(
  sysroot: string,
  environment: NodeJS.ProcessEnv,
  work: () => Promise<number | void>,
): Promise<number> {
  if (sysroot !== '/' || environment[MARK] !== undefined || !(await isReadOnly(sysroot))) {
    return (await work()) ?? EXIT.ok;
  }
  return await runAgain(environment, ['sh', '-c', REMOUNT, 'sh']);
}

/** Runs `work` in a second run of this command whose mounts are its own, and end with it; returns that run's status. */
export async function inOwnMountNamespace(
  environment: NodeJS.ProcessEnv,
  work: () => Promise<number | void>,
): Promise<number> {
  if (environment[MARK] !== undefined) return (await work()) ?? EXIT.ok;
  return await runAgain(environment, []);
}

async function runAgain(environment: NodeJS.ProcessEnv, through: readonly string[]): Promise<number> {
  const again = [process.execPath, ...process.execArgv, ...process.argv.slice(1)];
  const child = spawn('unshare', ['--mount', '--', ...through, ...again], {
    stdio: 'inherit',
    env: { ...environment, [MARK]: '1' },
  });
  const [code] = (await once(child, 'exit')) as [number | null];
  return code ?? EXIT.failure;
}

/** The same for a command that is given a repository, which may be the booted host's own. */
export async function inWritableRepository(
  repository: string,
  environment: NodeJS.ProcessEnv,
  work: () => Promise<number | void>,
): Promise<number> {
  return await inWritableNamespace(isHostRepository(repository) ? '/' : repository, environment, work);
}

function isHostRepository(path: string): boolean {
  try {
    return HOST_REPOSITORIES.has(realpathSync(path));
  } catch (error) {
    // Whoever opens it says it better.
    if (error instanceof Error && 'code' in error) return false;
    throw error;
  }
}
