/** Small files that are either the old or the new version at every instant, whenever the process is killed. */
import { readFile, rename, writeFile } from 'node:fs/promises';

/** Replaces a file's content. The directory must exist. */
export async function writeAtomically(path: string, text: string): Promise<void> {
  const next = `${path}.${process.pid}.new`;
  await writeFile(next, text, { mode: 0o600 });
  await rename(next, path);
}

/** A file's text, or `undefined` if there is no such file. */
export async function readIfPresent(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
