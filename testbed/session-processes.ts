/** Who runs in a session: whoever was started by its first process, also after that has ended. */
import { readdir, readFile } from 'node:fs/promises';

export interface SessionProcess {
  readonly pid: number;
  readonly name: string;
}

/** Without those that have ended and of which nobody has taken notice yet. @param session pid of its first process */
export async function processesInSession(session: number): Promise<readonly SessionProcess[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const stats = await Promise.all(pids.map((pid) => readFile(`/proc/${pid}/stat`, 'latin1').catch(() => '')));
  return stats.flatMap((stat) => {
    // Pid, name, state, parent, process group, session. proc_pid_stat(5)
    const [, pid, name = '', state, of] = /^(\d+) \((.*)\) (\S) \d+ \d+ (\d+) /s.exec(stat) ?? [];
    return Number(of) === session && state !== 'Z' ? [{ pid: Number(pid), name }] : [];
  });
}
