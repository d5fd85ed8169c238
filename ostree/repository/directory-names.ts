/** The names in a directory, a few at a time: of a staging directory, all of them together are as many as the files of an OS. */
import { opendirSync } from 'node:fs';

const NAMES_AT_A_TIME = 256;

/**
 * Names that are neither added nor removed meanwhile come exactly once, as readdir(3) promises; others may come or not.
 * Throws what opendir(3) and readdir(3) say.
 */
export function* directoryNames(path: string): Generator<string> {
  const directory = opendirSync(path, { bufferSize: NAMES_AT_A_TIME });
  try {
    for (let entry = directory.readSync(); entry !== null; entry = directory.readSync()) yield entry.name;
  } finally {
    directory.closeSync();
  }
}
