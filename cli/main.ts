/** The process behind `bin/treeline`: signals, streams and the exit status. */
import process from 'node:process';
import { setFlagsFromString } from 'node:v8';
import { run } from './run.ts';

// An import keeps all CPUs busy: threads that help V8 to collect small heaps take more from it than they give. The operator's heap grows with the fleet.
if (process.argv[2] !== 'operator') setFlagsFromString('--single-threaded-gc');

const stop = new AbortController();
for (const name of ['SIGINT', 'SIGTERM'] as const) {
  // The second signal ends the process at once: every step is safe to cut.
  process.once(name, () => stop.abort(new Error(`received ${name}`)));
}
// `treeline … | head` is no failure of ours.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
});

process.exitCode = await run(process.argv.slice(2), {
  environment: process.env,
  signal: stop.signal,
  stdout: (text) => process.stdout.write(text),
  stderr: {
    write: (text) => process.stderr.write(text),
    isTTY: process.stderr.isTTY && process.env['TERM'] !== 'dumb',
    columns: process.stderr.columns ?? 80,
  },
});
