/** Runs a command and measures what it and everything that it starts costs. Linux only: it reads proc(5). */
import { spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { processSeconds, statFields, TICKS_PER_SECOND } from './cpu-time.ts';

export interface Cost {
  readonly wallSeconds: number;
  /**
   * User and system time of the process and of all its descendants. Of those that nobody has waited for, which the kernel
   * does not add up, as it was seen last: up to a sample's interval less than it was.
   */
  readonly cpuSeconds: number;
  /** Largest sum of the resident sets of the process and its descendants, sampled; pages that they share count twice. */
  readonly peakBytes: number;
  /** The same of the proportional set sizes: pages that they share count once. Sampled less often, for it costs more. */
  readonly peakProportionalBytes: number;
}

/** Short enough to see the peak of a process that runs for a second, long enough not to disturb it. */
const SAMPLE_INTERVAL_MS = 25;
/** The kernel walks page tables for a proportional set size. */
const SAMPLES_PER_PROPORTIONAL = 4;
/** On every Linux that Node runs on with 4 KiB pages. */
const PAGE_BYTES = 4096;

/** Runs one command at a time; `onStart` is told its process id. @throws Error with the command's own words when it fails. */
export async function measure(
  command: string,
  parameters: readonly string[],
  onStart: (pid: number) => void = () => undefined,
): Promise<Cost> {
  const cpuBefore = childrenSeconds();
  const started = performance.now();
  const child = spawn(command, parameters, { stdio: ['ignore', 'ignore', 'pipe'] });
  if (child.pid !== undefined) onStart(child.pid);
  let words = '';
  child.stderr.on('data', (chunk: Buffer) => (words += chunk.toString()));
  let peakPages = 0;
  let peakProportionalBytes = 0;
  let samples = 0;
  const secondsSeen = new Map<number, number>();
  const sampler = setInterval(() => {
    if (child.pid === undefined) return;
    const tree = processTree(child.pid);
    peakPages = Math.max(peakPages, sum(tree, residentPages));
    for (const pid of tree) secondsSeen.set(pid, ifAlive(() => processSeconds(pid)) ?? secondsSeen.get(pid) ?? 0);
    if (samples++ % SAMPLES_PER_PROPORTIONAL !== 0) return;
    peakProportionalBytes = Math.max(peakProportionalBytes, sum(tree, proportionalBytes));
  }, SAMPLE_INTERVAL_MS);
  const status = await new Promise<number | string>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => resolve(code ?? signal ?? 'unknown'));
  });
  const wallSeconds = (performance.now() - started) / 1000;
  clearInterval(sampler);
  if (status !== 0) throw new Error(`${command} ${parameters.join(' ')} ended with ${status}: ${words.slice(-2000)}`);
  return {
    wallSeconds,
    cpuSeconds: Math.max(childrenSeconds() - cpuBefore, sum([...secondsSeen.values()], Number)),
    peakBytes: peakPages * PAGE_BYTES,
    peakProportionalBytes,
  };
}

/** Of all descendants that have been waited for: fields cutime and cstime. */
function childrenSeconds(): number {
  const fields = statFields('self');
  return (Number(fields[13]) + Number(fields[14])) / TICKS_PER_SECOND;
}

/** A process and its descendants; those that end meanwhile may be missing. */
function processTree(root: number): readonly number[] {
  const found = [root];
  for (const pid of found) {
    const children = ifAlive(() =>
      readdirSync(`/proc/${pid}/task`).map((task) => readFileSync(`/proc/${pid}/task/${task}/children`, 'latin1')),
    );
    for (const list of children ?? []) found.push(...list.split(' ').filter(Boolean).map(Number));
  }
  return found;
}

function residentPages(pid: number): number {
  return ifAlive(() => Number(readFileSync(`/proc/${pid}/statm`, 'latin1').split(' ')[1])) ?? 0;
}

function proportionalBytes(pid: number): number {
  const text = ifAlive(() => readFileSync(`/proc/${pid}/smaps_rollup`, 'latin1'));
  return Number(/^Pss: +(\d+) kB/m.exec(text ?? '')?.[1] ?? 0) * 1024;
}

function sum(pids: readonly number[], of: (pid: number) => number): number {
  return pids.reduce((total, pid) => total + of(pid), 0);
}

/** What `read` finds in /proc; undefined for a process that ended between two looks. */
function ifAlive<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ESRCH')) {
      return undefined;
    }
    throw error;
  }
}
