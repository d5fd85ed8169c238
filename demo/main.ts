/** `npm run demo`: one machine plays a fleet, and the fleet is moved from one operating system to the next. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Display } from './display.ts';
import { tellStory } from './story.ts';

const MAX_NODES = 9;
const EXIT_INTERRUPTED = 130;

const HELP = `Usage: npm run demo [-- FLAG…]

Makes three versions of a small operating system, starts a real Kubernetes API, a registry and some nodes on loopback,
and moves the nodes from version 1 to 2 to 3 with an OSImage. Stops and removes everything at the end.
Needs root, because an operating system's files belong to many users.

Flags:
  --nodes N         how many nodes, 1 to ${MAX_NODES} (default 3)
  --keep            leave everything running at the end, until Ctrl-C, with a kubeconfig to play with
  --output FORMAT   text (default), or json: one document on standard output at the end, the story on standard error
  -h, --help        this text
`;

class UsageError extends Error {}

interface Arguments {
  readonly nodes: number;
  readonly keep: boolean;
  readonly json: boolean;
  readonly help: boolean;
}

function readArguments(): Arguments {
  const { values } = parseArgs({
    options: {
      nodes: { type: 'string', default: '3' },
      keep: { type: 'boolean', default: false },
      output: { type: 'string', default: 'text' },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (!/^[1-9]$/.test(values.nodes)) throw new UsageError(`--nodes takes a number from 1 to ${MAX_NODES}.`);
  if (values.output !== 'text' && values.output !== 'json') throw new UsageError('--output takes text or json.');
  return { nodes: Number(values.nodes), keep: values.keep, json: values.output === 'json', help: values.help };
}

async function main(): Promise<number> {
  const { help, json, nodes, keep } = readArguments();
  if (help) {
    process.stdout.write(HELP);
    return 0;
  }
  if (process.getuid?.() !== 0) {
    throw new UsageError('The demo makes operating system trees and needs root: run it with sudo or in a root shell.');
  }
  const stop = new AbortController();
  // The terminal sends Ctrl-C to everybody in the foreground; more of them do not make the clean-up faster.
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, () => stop.abort());
  const display = new Display(json ? process.stderr : process.stdout);
  stop.signal.addEventListener('abort', () => {
    display.end();
    display.say('Stopping and removing everything that was started.');
  });
  const logFolder = await mkdtemp(join(tmpdir(), 'treeline-demo-logs-'));
  try {
    await tellStory({
      nodes,
      keep,
      logFolder,
      display,
      signal: stop.signal,
      onProof: (proof) => {
        if (json) process.stdout.write(`${JSON.stringify(proof, undefined, 2)}\n`);
      },
    });
    await rm(logFolder, { recursive: true });
    return 0;
  } catch (error) {
    display.end();
    if (stop.signal.aborted) {
      await rm(logFolder, { recursive: true });
      return EXIT_INTERRUPTED;
    }
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    process.stderr.write(`The logs are kept in ${logFolder}\n`);
    return 1;
  }
}

try {
  process.exitCode = await main();
} catch (error) {
  if (!(error instanceof UsageError) && !(error instanceof TypeError)) throw error;
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 2;
}
