/** Finds processes that were started without privilege, as the machine sees them. */
import { readdir, readFile } from 'node:fs/promises';
import { CONFINED_ID } from '../confinement/confinement-script.ts';

/** PIDs of the processes below `pid` that run as the user of confined ones, once they are Node. */
export async function confinedBelow(pid: number): Promise<readonly number[]> {
  const found: number[] = [];
  for (const name of await readdir('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const status = await readFile(`/proc/${name}/status`, 'utf8').catch(() => '');
    // Before it is Node it is still being confined.
    const isConfined = new RegExp(`^Name:\\s+node[^]*^Uid:\\s+${CONFINED_ID}\\b`, 'm').test(status);
    if (isConfined && (await descends(Number(name), pid))) found.push(Number(name));
  }
  return found;
}

async function descends(pid: number, from: number): Promise<boolean> {
  for (let at = pid; at > 1;) {
    const status = await readFile(`/proc/${at}/status`, 'utf8').catch(() => '');
    at = Number(/^PPid:\s+(\d+)/m.exec(status)?.[1] ?? 0);
    if (at === from) return true;
  }
  return false;
}
