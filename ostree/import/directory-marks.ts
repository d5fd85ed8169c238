/**
 * Which directories of a derived layer had an entry of their own. A layer commit has metadata for every directory, also
 * for those that exist only because something lies in them; laid over a lower layer, the invented metadata of such a
 * directory must not replace the true one. So our layer commits say which is which.
 */
import { lookupString, type VariantDictionary } from '../gvariant/value.ts';
import { compareNames } from '../objects/name-order.ts';
import type { TreeDirectory } from '../tree/tree-directory.ts';
import { ImportError } from './errors.ts';

/**
 * Key in the metadata of a layer commit. Its value has a letter for each directory, parents before children, children in
 * the order of dirtree objects: `e` for one with an entry of its own (explicit), `i` for one without (implied). Layer
 * commits of other importers have no such key.
 */
export const DIRECTORY_MARKS_KEY = 'treeline.layer.directories';

const EXPLICIT = 'e';
const IMPLIED = 'i';

/** The value for a tree. */
export function markDirectories(root: TreeDirectory, explicit: { has(directory: TreeDirectory): boolean }): string {
  const marks: string[] = [];
  const waiting = [root];
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    marks.push(explicit.has(next) ? EXPLICIT : IMPLIED);
    const children = [...next.directories].sort(([a], [b]) => compareNames(b, a));
    for (const [, directory] of children) waiting.push(directory);
  }
  return marks.join('');
}

/** Reads the marks of one layer commit, in the order of its tree. */
export class DirectoryMarks {
  readonly #commit: string;
  readonly #marks: string | undefined;
  #at = 0;

  /** @param commit of the layer, for messages */
  constructor(commit: string, metadata: VariantDictionary) {
    this.#commit = commit;
    this.#marks = lookupString(metadata, DIRECTORY_MARKS_KEY);
  }

  /** Whether the next directory had an entry of its own. Of layers that others imported nobody knows: false. */
  next(): boolean {
    return this.#marks?.[this.#at++] === EXPLICIT;
  }

  /** @throws {ImportError} `InvalidLayer` if the marks were not those of the tree. */
  finish(): void {
    if (this.#marks === undefined || this.#at === this.#marks.length) return;
    throw new ImportError(
      'InvalidLayer',
      `layer commit ${this.#commit} describes ${this.#marks.length} directories and has ${this.#at}; delete its ref ` +
        'under ostree/container/blob and pull the image again',
    );
  }
}
