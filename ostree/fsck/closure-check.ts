/** Finds out what commits lack, each directory looked into once however many commits share it. */
import { OstreeError } from '../errors.ts';
import type { ObjectType } from '../objects/object-name.ts';
import type { Repository } from '../repository/repository.ts';
import type { TreeReference } from '../tree/tree-directory.ts';

export interface Gap {
  /** `CHECKSUM.TYPE` */
  readonly object: string;
  readonly commit: string;
  /** Of what the object is, in that commit. */
  readonly path: string;
}

export class ClosureCheck {
  readonly #repository: Repository;
  readonly #damaged: ReadonlySet<string>;
  /** Directories that were looked into, and whether all below is there. */
  readonly #complete = new Map<string, boolean>();
  readonly #gaps = new Map<string, Gap>();

  /** @param damaged objects (`CHECKSUM.TYPE`) that count as not there */
  constructor(repository: Repository, damaged: ReadonlySet<string>) {
    this.#repository = repository;
    this.#damaged = damaged;
  }

  /** One for each object that a commit lacked. */
  get gaps(): ReadonlyMap<string, Gap> {
    return this.#gaps;
  }

  /** Whether the commit is there with all that it refers to. */
  isComplete(commit: string): boolean {
    if (!this.#has('commit', commit)) return false;
    return this.#visit(commit, this.#repository.readCommit(commit), '/');
  }

  /** All that the commit lacks, where that can be told: what a missing directory held cannot. */
  lackedBy(commit: string): ReadonlySet<string> {
    const lacked = new Set<string>();
    if (this.isComplete(commit)) return lacked;
    if (!this.#has('commit', commit)) return lacked.add(`${commit}.commit`);
    const require = (type: ObjectType, checksum: string): boolean => {
      if (this.#has(type, checksum)) return true;
      lacked.add(`${checksum}.${type}`);
      return false;
    };
    const waiting: TreeReference[] = [this.#repository.readCommit(commit)];
    for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
      require('dirmeta', next.dirmeta);
      if (this.#complete.get(next.dirtree) === true || !require('dirtree', next.dirtree)) continue;
      const { files, directories } = this.#repository.readDirtree(next.dirtree);
      for (const { checksum } of files) require('file', checksum);
      waiting.push(...directories);
    }
    return lacked;
  }

  #visit(commit: string, { dirtree, dirmeta }: TreeReference, path: string): boolean {
    const described = this.#require('dirmeta', dirmeta, commit, path);
    const known = this.#complete.get(dirtree);
    if (known !== undefined) return known && described;
    let complete = this.#require('dirtree', dirtree, commit, path);
    if (complete) {
      const { files, directories } = this.#repository.readDirtree(dirtree);
      for (const { name, checksum } of files) {
        if (!this.#require('file', checksum, commit, `${path}${name}`)) complete = false;
      }
      for (const directory of directories) {
        if (!this.#visit(commit, directory, `${path}${directory.name}/`)) complete = false;
      }
    }
    this.#complete.set(dirtree, complete);
    return complete && described;
  }

  #require(type: ObjectType, checksum: string, commit: string, path: string): boolean {
    if (this.#has(type, checksum)) return true;
    const object = `${checksum}.${type}`;
    if (!this.#gaps.has(object)) this.#gaps.set(object, { object, commit, path });
    return false;
  }

  #has(type: ObjectType, checksum: string): boolean {
    return !this.#damaged.has(`${checksum}.${type}`) && this.#repository.hasObject(type, checksum);
  }
}

/** Whether reading failed because of what is in the repository, and not because the disk or the program failed. */
export function isDamage(error: unknown): error is OstreeError {
  return error instanceof OstreeError && (error.code === 'CorruptObject' || error.code === 'MissingObject');
}
