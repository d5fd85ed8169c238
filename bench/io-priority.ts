/** The I/O priorities of a process's threads, as ionice(1) tells them. */
import { readdirSync } from 'node:fs';
import { tryCommand } from '../tools/setup/command.ts';

export interface Priorities {
  readonly threads: number;
  /** Threads of the class that most of them have. */
  readonly share: number;
  /** `idle`, `best-effort: prio 7`, … */
  readonly most: string;
}

/** Of all threads of `pid`; undefined when it is gone. */
export async function threadPriorities(pid: number): Promise<Priorities | undefined> {
  let threads: readonly string[];
  try {
    threads = readdirSync(`/proc/${pid}/task`);
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
  const counts = new Map<string, number>();
  for (const thread of threads) {
    // A thread may end before it is asked about.
    const { code, stdout } = await tryCommand('ionice', ['--pid', thread]);
    if (code === 0) counts.set(stdout.trim(), (counts.get(stdout.trim()) ?? 0) + 1);
  }
  const ranked = [...counts].toSorted(([, a], [, b]) => b - a);
  const [most, share] = ranked[0] ?? [];
  if (most === undefined || share === undefined) return undefined;
  return { threads: ranked.reduce((sum, [, count]) => sum + count, 0), share, most };
}
