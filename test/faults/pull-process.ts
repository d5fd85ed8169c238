/** A pull in a process of its own, which a test ends when it likes, or has strace end at a system call. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { setTimeout as sleep } from 'node:timers/promises';
import type { LayoutRegistry } from '../../testbed/layout-registry.ts';
import { processesInSession } from '../../testbed/session-processes.ts';
import { TREELINE } from '../../testbed/treeline-command.ts';
import { referenceAt } from './import-harness.ts';

/** System calls that change the file system, by what they do. */
export const CALLS = [
  ['linkat'],
  ['rename', 'renameat', 'renameat2'],
  ['fsync', 'fdatasync', 'syncfs'],
  ['unlink', 'unlinkat', 'rmdir'],
  ['mkdir', 'mkdirat'],
  ['utimensat'],
] as const;

type Calls = (typeof CALLS)[number];

export interface EndedPull {
  /** Null if it was complete before it was killed. */
  readonly signal: NodeJS.Signals | null;
  /** From its first request. */
  readonly milliseconds: number;
}

/** Where the registry is talked to and layers are unpacked: by `treeline image pull` itself, or as agents have it done. */
export type Placement = 'in-process' | 'confined';

const AGENT_LIKE_PULL = fileURLToPath(new URL('../interop/agent-like-pull.ts', import.meta.url));
/** The kernel ends those whose parent is gone at once. */
const FAREWELL_MS = 10_000;

/** Program and parameters of a pull. */
export function pullCommand(registry: LayoutRegistry, repository: string, placement: Placement): readonly string[] {
  const [host, reference] = [registry.host, referenceAt(registry)];
  return placement === 'confined'
    ? [process.execPath, AGENT_LIKE_PULL, host, repository, reference]
    : [TREELINE, 'image', 'pull', '--plain-http', host, '--repo', repository, reference];
}

/**
 * Pulls, below `tracer` if there is one, and kills that when `until` resolves, which by default it never does. Throws if
 * anybody whom it has started outlives it.
 */
export async function pullInProcess(
  registry: LayoutRegistry,
  repository: string,
  placement: Placement,
  until: () => Promise<void> = () => new Promise(() => {}),
  tracer: readonly string[] = [],
): Promise<EndedPull> {
  const pull = pullCommand(registry, repository, placement);
  const arrived = registry.nextRequest();
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', '--', ...tracer, ...pull], {
    stdio: ['ignore', 'ignore', 'pipe'],
    // A session of its own: that is how those whom it leaves behind are found.
    detached: true,
  });
  const words: string[] = [];
  child.stderr.setEncoding('utf8').on('data', (text: string) => words.push(text));
  const closed = once(child, 'close') as Promise<[number | null, NodeJS.Signals | null]>;
  await Promise.race([arrived, closed]);
  const started = performance.now();
  await Promise.race([until(), closed]);
  child.kill('SIGKILL');
  const [code, signal] = await closed;
  await requireNobodyIn(child.pid ?? 0);
  if (code !== 0 && signal !== 'SIGKILL') throw new Error(`the import failed: ${words.join('')}`);
  return { signal, milliseconds: performance.now() - started };
}

async function requireNobodyIn(session: number): Promise<void> {
  const deadline = performance.now() + FAREWELL_MS;
  for (;;) {
    const found = await processesInSession(session);
    if (found.length === 0) return;
    if (performance.now() > deadline)
      throw new Error(`the pull has left somebody behind: ${found.map(({ name }) => name).join(', ')}`);
    await sleep(10);
  }
}

/** Pulls, and has it killed when one of its threads makes one of `calls` for the `count`th time. */
export async function pullKilledAt(
  registry: LayoutRegistry,
  repository: string,
  placement: Placement,
  calls: Calls,
  count: number,
): Promise<EndedPull> {
  const inject = `inject=${calls.join()}:signal=SIGKILL:when=${count}`;
  return await pullInProcess(registry, repository, placement, undefined, trace(calls, '/dev/null', '-e', inject));
}

/**
 * Pulls, and returns how many calls of each kind the thread makes that makes the most: strace counts for each on its own.
 *
 * @param log path of a file that it may write
 */
export async function countCalls(
  registry: LayoutRegistry,
  repository: string,
  placement: Placement,
  log: string,
): Promise<ReadonlyMap<Calls, number>> {
  await pullInProcess(registry, repository, placement, undefined, trace(CALLS.flat(), log));
  const lines = (await readFile(log, 'latin1')).split('\n').map((line) => /^(\d+) +(\w+)\(/.exec(line));
  return new Map(
    CALLS.map((calls) => {
      const threads = new Map<string, number>();
      for (const [, thread = '', name = ''] of lines.filter((line) => line !== null)) {
        if ((calls as readonly string[]).includes(name)) threads.set(thread, (threads.get(thread) ?? 0) + 1);
      }
      return [calls, Math.max(1, ...threads.values())];
    }),
  );
}

/** Not with --seccomp-bpf, which would be quicker: strace 6.1 then miscounts. */
function trace(calls: readonly string[], log: string, ...more: readonly string[]): readonly string[] {
  return ['strace', '-f', '-qq', '-o', log, '-e', `trace=${calls.join()}`, ...more];
}
