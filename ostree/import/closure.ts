/** Proof that a tree can be checked out: every object that it refers to is there. */
import { setImmediate as otherWork } from 'node:timers/promises';
import { ChecksumSet } from '../objects/checksum-set.ts';
import type { ObjectSource } from '../repository/staged-objects.ts';
import type { TreeReference } from '../tree/tree-directory.ts';
import { ImportError } from './errors.ts';
import { TreeBounds } from './tree-bounds.ts';

const CHECKSUM_BYTES = 32;
/** Directories looked into before other work of this thread gets a turn: a few milliseconds. */
const DIRECTORIES_PER_TURN = 32;

/**
 * Walks the tree and looks for each object. Directories are read and verified; of files only the presence is checked,
 * because they were verified when they were written.
 *
 * @throws {ImportError} `IncompleteImage` naming the first object that is missing, `InvalidImage` if the tree is one
 *   that no host could check out, or OstreeError for a corrupt object.
 */
export async function verifyClosure(source: ObjectSource, root: TreeReference): Promise<void> {
  await walk(source, root, (checksum) => {
    throw lacks('file', checksum);
  });
}

/**
 * The checksums of those files of the tree that are not there yet, 32 bytes each, all else being as `verifyClosure`
 * demands; undefined when there are more than `limit` of them.
 */
export async function findLackingFiles(
  source: ObjectSource,
  root: TreeReference,
  limit: number,
): Promise<Uint8Array | undefined> {
  const lacking = new ChecksumSet();
  await walk(source, root, (checksum) => {
    if (lacking.size <= limit) lacking.add(checksum);
  });
  return lacking.size > limit ? undefined : lacking.toBytes();
}

/**
 * @param checksums as `findLackingFiles` gives them
 * @throws {ImportError} `IncompleteImage` naming the first of the files that is missing.
 */
export function requireFiles(source: Pick<ObjectSource, 'hasObject'>, checksums: Uint8Array): void {
  const bytes = Buffer.from(checksums.buffer, checksums.byteOffset, checksums.length);
  for (let at = 0; at < bytes.length; at += CHECKSUM_BYTES) {
    const checksum = bytes.toString('hex', at, at + CHECKSUM_BYTES);
    if (!source.hasObject('file', checksum)) throw lacks('file', checksum);
  }
}

async function walk(
  source: ObjectSource,
  root: TreeReference,
  onLackingFile: (checksum: string) => void,
): Promise<void> {
  const seen = new Set<string>();
  const waiting: TreeReference[] = [root];
  const bounds = new TreeBounds();
  const isNew = (type: 'dirtree' | 'dirmeta', checksum: string): boolean => {
    const key = `${checksum}.${type}`;
    if (seen.has(key)) return false;
    seen.add(key);
    if (!source.hasObject(type, checksum)) throw lacks(type, checksum);
    return true;
  };
  let read = 0;
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    isNew('dirmeta', next.dirmeta);
    if (!isNew('dirtree', next.dirtree)) continue;
    const directory = source.readDirtree(next.dirtree);
    bounds.add(next.dirtree, directory);
    const { bytes, files, directories } = directory;
    // Most files are in one directory only: to look twice for the others costs less than to remember all.
    for (let index = 0; index < files.length; index++)
      if (!source.hasObjectOf('file', bytes, files.checksumAt(index))) onLackingFile(files.checksum(index));
    for (let index = 0; index < directories.length; index++)
      waiting.push({ dirtree: directories.checksum(index), dirmeta: directories.checksum(index, 1) });
    if (++read % DIRECTORIES_PER_TURN === 0) await otherWork();
  }
  bounds.check(root.dirtree);
}

function lacks(type: 'file' | 'dirtree' | 'dirmeta', checksum: string): ImportError {
  return new ImportError(
    'IncompleteImage',
    `the image lacks the object ${checksum}.${type}, which its commit refers to; have it built again`,
  );
}
