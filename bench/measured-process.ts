/** Runs a command and measures what it and everything that it starts costs. Linux only: it reads proc(5). */
import { spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';

export interface Cost {
  readonly wallSeconds: number;
  /** User and system time of the process and of all its descendants. */
  readonly cpuSeconds: number;
  /** Largest sum of the resident sets of the process and its descendants, sampled; pages that they share count twice. */
  readonly peakBytes: number;
}

/** Short enough to see the peak of a process that runs for a second, long enough not to disturb it. */
const SAMPLE_INTERVAL_MS = 25;
/** sysconf(_SC_CLK_TCK) and the page size, on every Linux that Node runs on with 4 KiB pages. */
const TICKS_PER_SECOND = 100;
const PAGE_BYTES = 4096;

/** Runs one command at a time. @throws Error with the command's own words when it fails. */
export async function measure(command: string, parameters: readonly string[]): Promise<Cost> {
  const cpuBefore = childrenTicks();
  const started = performance.now();
  const child = spawn(command, parameters, { stdio: ['ignore', 'ignore', 'pipe'] });
  let words = '';
  child.stderr.on('data', (chunk: Buffer) => (words += chunk.toString()));
  let peakPages = 0;
  const sampler = setInterval(() => {
    if (child.pid !== undefined) peakPages = Math.max(peakPages, residentPages(child.pid));
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
    cpuSeconds: (childrenTicks() - cpuBefore) / TICKS_PER_SECOND,
    peakBytes: peakPages * PAGE_BYTES,
  };
}

/** Ticks of all descendants that have been waited for: fields cutime and cstime. */
function childrenTicks(): number {
  const fields = statFields('self');
  return Number(fields[13]) + Number(fields[14]);
}

/** The fields after the command name, which may contain anything: the first of them is the state, field 3. */
function statFields(pid: number | 'self'): readonly string[] {
  const text = readFileSync(`/proc/${pid}/stat`, 'latin1');
  return text.slice(text.lastIndexOf(')') + 2).split(' ');
}

function residentPages(pid: number): number {
  try {
    let pages = Number(readFileSync(`/proc/${pid}/statm`, 'latin1').split(' ')[1]);
    for (const task of readdirSync(`/proc/${pid}/task`)) {
      const children = readFileSync(`/proc/${pid}/task/${task}/children`, 'latin1').trim();
      if (children !== '') for (const child of children.split(' ')) pages += residentPages(Number(child));
    }
    return pages;
  } catch (error) {
    // It ended between two looks.
    if (error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ESRCH')) return 0;
    throw error;
  }
}
