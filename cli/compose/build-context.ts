/** What a builder's COPY copies from. */
import { copyFile, mkdir, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';

/** A kubelet's mark of a volume that it made of a ConfigMap or a Secret: there every name is a link through it. */
const KUBELET_MARK = '..data';

/** `directory`, or where it is such a volume, a copy below `scratch` with files in place of the links: COPY copies links as links. */
export async function plainContext(directory: string, scratch: string): Promise<string> {
  const names = await readdir(directory);
  if (!names.includes(KUBELET_MARK)) return directory;
  const copy = join(scratch, 'context');
  await mkdir(copy);
  for (const name of names) {
    if (name.startsWith('..')) continue;
    const path = join(directory, name);
    if ((await stat(path)).isFile()) await copyFile(path, join(copy, name));
  }
  return copy;
}
