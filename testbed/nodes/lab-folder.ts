/** The folder of a lab, and the names of its cgroups, which stay as well when a lab is killed. */
import { basename } from 'node:path';
import type { Say } from '../../tools/setup/say.ts';
import { ClaimedFolder, type FolderKind, foldersOf } from '../claimed-folder.ts';
import { cgroupsThatBeginWith, removeCgroups } from './cgroups.ts';

const LAB: FolderKind = {
  prefix: 'treeline-lab-',
  what: 'a lab of real nodes',
  removeRest: async (path) => {
    for (const name of await cgroupsThatBeginWith(`${basename(path)}-`)) await removeCgroups(name);
  },
};

export class LabFolder implements AsyncDisposable {
  readonly #folder: ClaimedFolder;

  private constructor(folder: ClaimedFolder) {
    this.#folder = folder;
  }

  /** Removes what labs have left that were killed, and makes the folder of a new one. */
  static async claim(say: Say): Promise<LabFolder> {
    return new LabFolder(await ClaimedFolder.claim(LAB, say));
  }

  get path(): string {
    return this.#folder.path;
  }

  /** The directory in each hierarchy of cgroups that a node has. */
  cgroup(node: string): string {
    return `${basename(this.path)}-${node}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#folder[Symbol.asyncDispose]();
  }
}

/** What labs of this process have on the machine at the moment: folders, and names of cgroups. */
export async function ownLabs(): Promise<readonly string[]> {
  return [...(await foldersOf(LAB, process.pid)), ...(await cgroupsThatBeginWith(`${LAB.prefix}${process.pid}-`))];
}
