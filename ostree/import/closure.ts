/** Proof that a tree can be checked out: every object that it refers to is there. */
import type { ObjectSource } from '../repository/staged-objects.ts';
import type { TreeReference } from '../tree/tree-directory.ts';
import { ImportError } from './errors.ts';
import { TreeBounds } from './tree-bounds.ts';

/**
 * Walks the tree and looks for each object. Directories are read and verified; of files only the presence is checked,
 * because they were verified when they were written.
 *
 * @throws {ImportError} `IncompleteImage` naming the first object that is missing, `InvalidImage` if the tree is one
 *   that no host could check out, or OstreeError for a corrupt object.
 */
export function verifyClosure(source: ObjectSource, root: TreeReference): void {
  const seen = new Set<string>();
  const waiting: TreeReference[] = [root];
  const bounds = new TreeBounds();
  const requireObject = (type: 'file' | 'dirtree' | 'dirmeta', checksum: string): void => {
    if (source.hasObject(type, checksum)) return;
    throw new ImportError(
      'IncompleteImage',
      `the image lacks the object ${checksum}.${type}, which its commit refers to; have it built again`,
    );
  };
  const isNew = (type: 'dirtree' | 'dirmeta', checksum: string): boolean => {
    const key = `${checksum}.${type}`;
    if (seen.has(key)) return false;
    seen.add(key);
    requireObject(type, checksum);
    return true;
  };
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    isNew('dirmeta', next.dirmeta);
    if (!isNew('dirtree', next.dirtree)) continue;
    const directory = source.readDirtree(next.dirtree);
    bounds.add(next.dirtree, directory);
    const { files, directories } = directory;
    // Most files are in one directory only: to look twice for the others costs less than to remember all.
    for (const { checksum } of files) requireObject('file', checksum);
    for (const child of directories) waiting.push(child);
  }
  bounds.check(root.dirtree);
}
