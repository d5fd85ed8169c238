/** A directory of the same name in every cgroup hierarchy of the machine, as a kubelet needs it. cgroups(7) */
import { mkdir, readFile, readdir, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** Processes that have been killed are gone by then, on a busy machine, too. */
const EMPTY_TIMEOUT_MS = 60_000;
const POLL_MS = 50;

/** Makes it in every hierarchy; returns how many there are. */
export async function makeCgroups(name: string): Promise<number> {
  const found = await hierarchies();
  for (const hierarchy of found) await mkdir(join(hierarchy, name), { recursive: true });
  return found.length;
}

/** Removes them with all below, once what ran in them has ended. */
export async function removeCgroups(name: string): Promise<void> {
  const deadline = Date.now() + EMPTY_TIMEOUT_MS;
  for (const hierarchy of await hierarchies()) {
    for (const path of await below(join(hierarchy, name))) {
      while (!(await isRemoved(path))) {
        if (Date.now() > deadline) throw new Error(`${path} still has processes in it`);
        await sleep(POLL_MS);
      }
    }
  }
}

/** Names of the cgroups at the top of any hierarchy that begin so. */
export async function cgroupsThatBeginWith(prefix: string): Promise<readonly string[]> {
  const found = new Set<string>();
  for (const hierarchy of await hierarchies()) {
    for (const name of await readdir(hierarchy)) if (name.startsWith(prefix)) found.add(name);
  }
  return [...found];
}

async function isRemoved(path: string): Promise<boolean> {
  try {
    await rmdir(path);
    return true;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return true;
    if (code === 'EBUSY') return false;
    throw error;
  }
}

/** The directory and those in it, deepest first. */
async function below(path: string): Promise<readonly string[]> {
  const entries = await readdir(path, { withFileTypes: true }).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  if (entries === undefined) return [];
  const folders = entries.filter((entry) => entry.isDirectory());
  const lists = await Promise.all(folders.map(({ name }) => below(join(path, name))));
  return [...lists.flat(), path];
}

async function hierarchies(): Promise<readonly string[]> {
  const lines = (await readFile('/proc/self/mounts', 'utf8')).split('\n').map((line) => line.split(' '));
  const found = lines.filter(([, , type]) => type === 'cgroup' || type === 'cgroup2').map(([, path = '']) => path);
  return [...new Set(found)];
}
