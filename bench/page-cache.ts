/** Reads files so that they are in memory: the registry then never waits for its disk, for neither contender. */
import { createReadStream } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';

/** Reads every file under `directory` once. */
export async function readIntoPageCache(directory: string): Promise<void> {
  for (const entry of await readdir(directory, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const file = createReadStream(join(entry.parentPath, entry.name), { highWaterMark: 1 << 20 });
    for await (const _ of file);
  }
}
