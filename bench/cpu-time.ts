/** CPU time by proc(5), also of what goes on running and cannot be waited for: a server, and the kernel's own threads. */
import { readdirSync, readFileSync } from 'node:fs';

/** sysconf(_SC_CLK_TCK) */
export const TICKS_PER_SECOND = 100;
/** All of the kernel's threads are children of this one, kthreadd. */
const KERNEL_PARENT = 2;

/** User and system seconds of a process, all its threads. Throws ENOENT for one that has ended. */
export function processSeconds(pid: number): number {
  const fields = statFields(pid);
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

/** Seconds that each of the kernel's threads has run, by process id: writeback, loop devices and journals are such. */
export function kernelThreadSeconds(): ReadonlyMap<number, number> {
  const seconds = new Map<number, number>();
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    try {
      if (Number(statFields(name)[1]) !== KERNEL_PARENT) continue;
      seconds.set(Number(name), Number(readFileSync(`/proc/${name}/schedstat`, 'latin1').split(' ')[0]) / 1e9);
    } catch (error) {
      // It ended between the two looks.
      if (!(error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ESRCH')))
        throw error;
    }
  }
  return seconds;
}

/** What they have run between two looks. Of those that ended in between nothing is known, so it may have been more. */
export function secondsBetween(before: ReadonlyMap<number, number>, after: ReadonlyMap<number, number>): number {
  let sum = 0;
  for (const [pid, seconds] of after) {
    const earlier = before.get(pid) ?? 0;
    // Less than before is another thread that has got the same number.
    sum += seconds >= earlier ? seconds - earlier : seconds;
  }
  return sum;
}

/** The fields after the command name, which may contain anything: the first of them is the state, field 3. */
export function statFields(pid: number | string): readonly string[] {
  const text = readFileSync(`/proc/${pid}/stat`, 'latin1');
  return text.slice(text.lastIndexOf(')') + 2).split(' ');
}
