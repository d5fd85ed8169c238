/**
 * Runs the host's own tools. A command that has been started is never killed by us: `ostree admin` is safe against
 * crashes, but half a deployment costs the next run a clean-up.
 */
import { spawn } from 'node:child_process';
import { AgentError } from '../errors.ts';

/** Runs `argv[0]` with the rest as arguments and returns its standard output; throws AgentError `CommandFailed`. */
export type CommandRunner = (argv: readonly string[]) => Promise<string>;

/** How much of a tool's error output goes into a status message. */
const MAX_ERROR_CHARS = 1000;

/** A runner that puts `prefix` (for example `chroot /host`) before every command. */
export function commandRunner(prefix: readonly string[] = []): CommandRunner {
  return async (argv) => {
    const [program = '', ...args] = [...prefix, ...argv];
    const child = spawn(program, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      // The output is parsed, so it must not be translated.
      env: { ...process.env, LC_ALL: 'C.UTF-8' },
    });
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr = (stderr + text).slice(-MAX_ERROR_CHARS)));
    const shown = argv.slice(0, 3).join(' ');
    return new Promise((resolve, reject) => {
      child.on('error', (cause: NodeJS.ErrnoException) =>
        reject(
          new AgentError(
            'CommandFailed',
            cause.code === 'ENOENT'
              ? `${program} is not installed on this host; install it${program === 'ostree' ? ' (Debian package: ostree)' : ''}.`
              : `${shown} could not be started: ${cause.message}`,
            { cause },
          ),
        ),
      );
      child.on('close', (code, killedBy) => {
        if (code === 0) return resolve(stdout);
        const said = stderr.trim().replace(/^error: /, '') || `exit ${code ?? killedBy ?? 'unknown'}`;
        reject(new AgentError('CommandFailed', `${shown} failed: ${said}`));
      });
    });
  };
}
