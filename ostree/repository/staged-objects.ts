/**
 * What a writer that was killed has left in its staging directory, looked through before anybody relies on it. A name
 * says that an object was complete in memory, not that the disk has it: after an I/O error, and a new mount without a
 * new boot, files are there whose bytes are not.
 */
import { readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import { OstreeError, systemErrorCode } from '../errors.ts';
import { metadataChecksum } from '../objects/commit.ts';
import { contentHash } from '../objects/file-header.ts';
import { openStoredFileAt } from './stored-file.ts';

/** Commits are left out: one speaks for all that it refers to, and of those its writer may not have had all. */
const STAGED_OBJECT = /^([0-9a-f]{62})\.(file|dirtree|dirmeta)$/;

/** Deletes everything from a staging directory but objects that are what their names say. */
export async function keepSoundObjects(staging: string, mode: 'bare' | 'bare-user'): Promise<void> {
  for (const prefix of readdirSync(staging)) {
    const directory = join(staging, prefix);
    const names = /^[0-9a-f]{2}$/.test(prefix) ? readDirectory(directory) : undefined;
    if (names === undefined) {
      rmSync(directory, { recursive: true });
      continue;
    }
    for (const name of names) {
      const path = join(directory, name);
      const [, rest, type] = STAGED_OBJECT.exec(name) ?? [];
      const sound =
        rest !== undefined && (await checksumOf(path, type === 'file' ? mode : undefined)) === `${prefix}${rest}`;
      if (!sound) rmSync(path, { recursive: true });
    }
  }
}

/** The names in a directory; undefined for anything else. */
function readDirectory(path: string): readonly string[] | undefined {
  try {
    return readdirSync(path);
  } catch (error) {
    if (systemErrorCode(error) === 'ENOTDIR') return undefined;
    throw error;
  }
}

/** @param mode of the repository for a content object, undefined for a metadata object */
async function checksumOf(path: string, mode: 'bare' | 'bare-user' | undefined): Promise<string | undefined> {
  if (mode === undefined) return metadataChecksum(readFileSync(path));
  try {
    using file = openStoredFileAt(path, mode);
    const hash = contentHash(file.header);
    for await (const chunk of file.content()) {
      hash.update(chunk);
      // Reads are synchronous, and there may be gigabytes.
      await turn();
    }
    return hash.digest('hex');
  } catch (error) {
    if (error instanceof OstreeError && (error.code === 'InvalidData' || error.code === 'CorruptObject'))
      return undefined;
    throw error;
  }
}
