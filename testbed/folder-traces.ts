/** What there is on the machine, at one moment, of something that keeps all that it has in one folder. */
import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';

/**
 * Processes that were started with its path, mounts of it in any mount namespace, loop devices of files in it, and the
 * folder itself; a line for each.
 */
export async function tracesOf(folder: string): Promise<readonly string[]> {
  const traces: string[] = existsSync(folder) ? [folder] : [];
  for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
    const command = (await textOf(`/proc/${pid}/cmdline`)).replaceAll('\0', ' ').trim();
    if (command.includes(folder)) traces.push(`process ${pid}: ${command}`);
    const mounts = (await textOf(`/proc/${pid}/mountinfo`)).split('\n').filter((line) => line.includes(folder));
    traces.push(...mounts.map((line) => `mount of process ${pid}: ${line}`));
  }
  for (const device of (await readdir('/sys/block')).filter((name) => name.startsWith('loop'))) {
    const file = (await textOf(`/sys/block/${device}/loop/backing_file`)).trim();
    if (file.includes(folder)) traces.push(`${device}: ${file}`);
  }
  return traces;
}

/** Empty for what is not there, or no longer. */
async function textOf(path: string): Promise<string> {
  return readFile(path, 'utf8').catch(() => '');
}
