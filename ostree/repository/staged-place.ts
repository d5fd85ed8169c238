/**
 * Where objects wait in a staging directory for their transaction to be committed: never in directories of two digits, as
 * libostree stages them. It takes over what a killed writer leaves, and must find nothing of ours that the disk may not have.
 */
import { statSync } from 'node:fs';
import { ioError } from '../errors.ts';
import { OBJECT_PREFIXES, storedPrefixes } from './loose-objects.ts';

/**
 * `together`: all in one directory, and each goes to its place by itself. `by-prefix`: in directories that can become those
 * of a repository that has none yet, each with all that is in it.
 */
export type StagedLayout = 'together' | 'by-prefix';

/** What the objects of one prefix wait in, before the prefix. */
const DIRECTORY = 'objects-';
/** A repository that has more of its directories than this takes few more as a whole. */
const FEW_DIRECTORIES = OBJECT_PREFIXES.length / 2;
const S_ISGID = 0o2000;

/** The layout with which least is left to be done at the end of a large transaction. Throws what reading the repository throws. */
export function stagedLayoutFor(repository: string): StagedLayout {
  if (storedPrefixes(repository).length > FEW_DIRECTORIES) return 'together';
  const objects = `${repository}/objects`;
  try {
    // Directories made elsewhere would not have the group that this one gives to its own.
    return (statSync(objects).mode & S_ISGID) === 0 ? 'by-prefix' : 'together';
  } catch (error) {
    throw ioError(`look at ${objects}`, error);
  }
}

/** What a staged object needs to be found: part of a writer's handle. */
export interface StagedIn {
  readonly stagingPath: string;
  readonly layout: StagedLayout;
}

/** The path of an object. Commits wait by themselves: they come after all that they refer to. */
export function stagedObjectPath({ stagingPath, layout }: StagedIn, extension: string, checksum: string): string {
  return layout === 'together' || extension === 'commit'
    ? `${stagingPath}/${checksum}.${extension}`
    : `${stagingPath}/${DIRECTORY}${checksum.slice(0, 2)}/${checksum.slice(2)}.${extension}`;
}

/** Where the objects of a prefix wait, if they do so by prefix. */
export function stagedDirectory(stagingPath: string, prefix: string): string {
  return `${stagingPath}/${DIRECTORY}${prefix}`;
}

/** The prefix of which `name`, found in a staging directory, holds the objects; undefined for anything else. */
export function prefixOfDirectory(name: string): string | undefined {
  return name.length === DIRECTORY.length + 2 && name.startsWith(DIRECTORY) ? name.slice(-2) : undefined;
}
