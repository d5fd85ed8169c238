/** Files that a command leaves for scripts: there is all of one, or none. */
import { randomBytes } from 'node:crypto';
import { rename, rm, writeFile } from 'node:fs/promises';
import { CliError, sentenceOf } from './errors.ts';

/** Writes `text` in place of what is there. Throws CliError `FileUnwritable`. */
export async function writeWholeFile(path: string, text: string): Promise<void> {
  const temporary = `${path}.${randomBytes(6).toString('hex')}`;
  try {
    await writeFile(temporary, text, { flag: 'wx' });
    await rename(temporary, path);
  } catch (cause) {
    await rm(temporary, { force: true });
    throw new CliError('FileUnwritable', `${path} cannot be written: ${sentenceOf(cause)}`, { cause });
  }
}
