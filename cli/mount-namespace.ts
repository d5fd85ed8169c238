/**
 * A booted host mounts `/sysroot` read-only. As the other host tools do, a command that writes there runs itself once
 * more in a mount namespace of its own, where the remount is seen by nobody else (unshare(1), mount_namespaces(7)).
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import process from 'node:process';
import { isReadOnly } from '../node-agent/index.ts';
import { EXIT } from './errors.ts';

/** Set for the second run, so that a remount that does not help ends in an error instead of a loop. */
const MARK = 'TREELINE_MOUNT_NAMESPACE';
const SCRIPT = 'mount -o remount,rw /sysroot && exec "$@"';

/** Runs `work` here if the sysroot is writable or not ours to remount; else in the second run, whose status it returns. */
export async function inWritableNamespace(
  sysroot: string,
  environment: NodeJS.ProcessEnv,
  work: () => Promise<void>,
): Promise<number> {
  if (sysroot !== '/' || environment[MARK] !== undefined || !(await isReadOnly(sysroot))) {
    await work();
    return EXIT.ok;
  }
  const again = [process.execPath, ...process.execArgv, ...process.argv.slice(1)];
  const child = spawn('unshare', ['--mount', '--', 'sh', '-c', SCRIPT, 'sh', ...again], {
    stdio: 'inherit',
    env: { ...environment, [MARK]: '1' },
  });
  const [code] = (await once(child, 'exit')) as [number | null];
  return code ?? EXIT.failure;
}
