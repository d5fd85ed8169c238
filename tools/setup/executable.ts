/** Finds programs the way a shell does. */
import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import { delimiter, isAbsolute, join } from 'node:path';

export async function isExecutable(path: string): Promise<boolean> {
  try {
    await access(path, constants.X_OK);
    return true;
  } catch {
    // Absent and not executable are the same answer here.
    return false;
  }
}

/** The first executable of that name on the PATH; Debian keeps some tools in sbin, which a user's PATH may lack. */
export async function findExecutable(name: string): Promise<string | undefined> {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/sbin'];
  for (const folder of folders) {
    const path = join(folder, name);
    if (isAbsolute(path) && (await isExecutable(path))) return path;
  }
  return undefined;
}
