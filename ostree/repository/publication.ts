/** How staged objects become part of the repository: by a rename each, or one for all of a prefix where the repository has none of it yet. */
import { mkdirSync, renameSync } from 'node:fs';
import { setImmediate as otherWork } from 'node:timers/promises';
import { systemErrorCode } from '../errors.ts';
import { directoryNames } from './directory-names.ts';
import type { WriterHandle } from './object-writer.ts';
import { prefixOfDirectory } from './staged-place.ts';

/** Renames before other work of this thread gets a turn: about a millisecond. */
const RENAMES_PER_TURN = 200;

/** What is to be moved: commits come after all that they refer to. */
export type Published = 'objects' | 'commits';

/** Moves what is staged under `handle` to its place. Returns whether there was any. Throws what rename(2) says. */
export async function publishStaged(handle: WriterHandle, which: Published): Promise<boolean> {
  const { stagingPath } = handle;
  const turns = new Turns();
  // Until a look finds nothing: what a directory says while names go out of it is not to be relied on.
  for (let before = -1; turns.moved !== before;) {
    before = turns.moved;
    for (const name of directoryNames(stagingPath)) {
      const prefix = prefixOfDirectory(name);
      if (prefix === undefined) {
        if (name.endsWith('.commit') !== (which === 'commits')) continue;
        moveToPlace(handle, name);
        await turns.next();
      } else if (which === 'objects') {
        await publishDirectory(`${stagingPath}/${name}`, `${handle.repositoryPath}/objects/${prefix}`, turns);
      }
    }
  }
  return turns.moved > 0;
}

/** Moves objects that are staged together, by their names. Returns whether there were any. Throws what rename(2) says. */
export async function publishNamed(handle: WriterHandle, names: Iterable<string>): Promise<boolean> {
  const turns = new Turns();
  for (const name of names) {
    moveToPlace(handle, name);
    await turns.next();
  }
  return turns.moved > 0;
}

class Turns {
  moved = 0;

  /** To be awaited after each rename. */
  async next(): Promise<void> {
    if (++this.moved % RENAMES_PER_TURN === 0) await otherWork();
  }
}

async function publishDirectory(source: string, target: string, turns: Turns): Promise<void> {
  try {
    // Takes the place of an empty directory, too. rename(2)
    renameSync(source, target);
    await turns.next();
    return;
  } catch (error) {
    const code = systemErrorCode(error);
    if (code !== 'ENOTEMPTY' && code !== 'EEXIST') throw error;
  }
  for (const name of directoryNames(source)) {
    renameSync(`${source}/${name}`, `${target}/${name}`);
    await turns.next();
  }
}

function moveToPlace({ repositoryPath, stagingPath }: WriterHandle, name: string): void {
  const source = `${stagingPath}/${name}`;
  const target = `${repositoryPath}/objects/${name.slice(0, 2)}/${name.slice(2)}`;
  try {
    renameSync(source, target);
  } catch (error) {
    if (systemErrorCode(error) !== 'ENOENT') throw error;
    // The first object of its kind: libostree makes these directories when they are needed, and so do we.
    mkdirSync(target.slice(0, target.lastIndexOf('/')), { recursive: true, mode: 0o777 });
    renameSync(source, target);
  }
}
