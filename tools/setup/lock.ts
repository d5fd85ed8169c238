/**
 * Two set-ups at once (a test run and a demo, say) must not build or install the same thing over each other. The lock is
 * the kernel's, held by a `flock` process whose input is a pipe from us: however we die, the pipe closes and it is free.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { ensureCacheFolder } from './cache.ts';
import { SetupError } from './errors.ts';
import type { Say } from './say.ts';

/** After this long without the lock a person is told what is waited for. */
const TELL_AFTER_MS = 1000;

/** Runs `action` while holding the named lock of this cache directory; says so when it has to wait. */
export async function withLock<Result>(name: string, say: Say, action: () => Promise<Result>): Promise<Result> {
  const file = join(await ensureCacheFolder('locks'), name);
  const holder = spawn('flock', ['--exclusive', file, 'sh', '-c', 'echo held; exec cat'], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const ended = new Promise<never>((_resolve, reject) => {
    holder.once('error', (error) => {
      reject(new SetupError('UNSUPPORTED_MACHINE', 'flock is missing: install util-linux', { cause: error }));
    });
    holder.once('exit', (code) => {
      reject(new SetupError('COMMAND_FAILED', `flock on ${file} ended early with code ${code}`));
    });
  });
  // The rejection of a holder that ends as it should, after us, concerns nobody.
  ended.catch(() => undefined);
  const timer = setTimeout(() => say(`Waiting for another set-up to finish with ${name}.`), TELL_AFTER_MS);
  try {
    await Promise.race([once(holder.stdout, 'data'), ended]);
  } finally {
    clearTimeout(timer);
  }
  try {
    return await action();
  } finally {
    holder.stdin.end();
    if (holder.exitCode === null && holder.signalCode === null) await once(holder, 'exit');
  }
}
