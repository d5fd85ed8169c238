/**
 * How large a tree is once it is unfolded. Directories are objects that may be referred to many times, so a few kilobytes
 * of them can stand for more paths than any disk holds, and for paths longer than any host can open.
 */
import type { PackedDirtree, PackedEntries } from '../objects/packed-dirtree.ts';
import { ImportError } from './errors.ts';
import { MAX_NAME_BYTES, MAX_PATH_BYTES } from './storable.ts';

/** Files and directories of a tree. A large operating system has some hundred thousand. */
const MAX_ENTRIES = 5_000_000;

interface Extent {
  /** Files and directories below. */
  readonly entries: number;
  /** Bytes of the longest path below, from here. */
  readonly longest: number;
}

/** A directory without what does not bound the whole, such as the names of its files. */
interface Summary {
  readonly own: Extent;
  readonly children: readonly { readonly nameBytes: number; readonly dirtree: string }[];
}

/** Takes in every directory of a tree once, in any order; then tells whether the whole can be checked out. */
export class TreeBounds {
  readonly #directories = new Map<string, Summary>();

  /** @throws {ImportError} `InvalidImage` if it has a name that is too long. */
  add(checksum: string, { files, directories }: PackedDirtree): void {
    let longest = 0;
    for (let index = 0; index < files.length; index++) longest = Math.max(longest, nameBytes(files, index));
    this.#directories.set(checksum, {
      own: { entries: files.length + directories.length, longest },
      children: Array.from({ length: directories.length }, (_, index) => ({
        nameBytes: nameBytes(directories, index),
        dirtree: directories.checksum(index),
      })),
    });
  }

  /** @throws {ImportError} `InvalidImage` if it has too many entries, or paths that are too long. */
  check(root: string): void {
    const extents = new Map<string, Extent>();
    const waiting = [root];
    // Children first, without recursion: directories can be nested deeper than any stack. Names are checksums of what is
    // in them, so there are no circles.
    for (let next = waiting.at(-1); next !== undefined; next = waiting.at(-1)) {
      const directory = this.#directories.get(next);
      const missing = directory?.children.filter(({ dirtree }) => !extents.has(dirtree)) ?? [];
      if (missing.length > 0) {
        for (const { dirtree } of missing) waiting.push(dirtree);
        continue;
      }
      waiting.pop();
      if (directory !== undefined && !extents.has(next)) extents.set(next, extentOf(directory, extents));
    }
  }
}

function extentOf({ own, children }: Summary, extents: ReadonlyMap<string, Extent>): Extent {
  let { entries, longest } = own;
  for (const { nameBytes, dirtree } of children) {
    const below = extents.get(dirtree);
    entries += below?.entries ?? 0;
    longest = Math.max(longest, nameBytes + 1 + (below?.longest ?? 0));
  }
  if (entries > MAX_ENTRIES) throw invalid(`more than ${MAX_ENTRIES} files and directories`);
  if (longest > MAX_PATH_BYTES) throw invalid(`paths of more than ${MAX_PATH_BYTES} bytes`);
  return { entries, longest };
}

function nameBytes(entries: PackedEntries, index: number): number {
  const bytes = entries.nameBytes(index);
  if (bytes > MAX_NAME_BYTES) throw invalid(`a name of ${bytes} bytes; at most ${MAX_NAME_BYTES} can be stored`);
  return bytes;
}

function invalid(what: string): ImportError {
  return new ImportError('InvalidImage', `the image's commit has ${what}: no host could check it out`);
}
