/** Finds files by their paths in the trees of stored images; what is found is read and held against the digest. */
import { createHash } from 'node:crypto';
import { setImmediate } from 'node:timers/promises';
import type { Repository } from '../../repository/repository.ts';
import { TreeDirectory } from '../../tree/tree-directory.ts';
import { fileOfSize } from './stored-size.ts';
import { type LocalContent, type LocalContentFinder, LocalReader } from './local-content.ts';
import type { Payload } from './toc.ts';
import { PartialFetchUnusable } from './unusable.ts';

/** A layer's own tree has its files where a container sees them; a commit has some elsewhere. */
const MOVED: readonly (readonly [from: string, to: readonly string[]])[] = [
  ['etc/', ['usr/etc/']],
  ['var/', ['var/', 'usr/share/factory/var/']],
];
/** After so many bytes of hashing in one go, whoever else waits for this thread has a turn. */
const TURN_BYTES = 4 * 1024 * 1024;

/** For derived layers. */
export class TreeFinder implements LocalContentFinder {
  readonly #repository: Repository;
  readonly #trees: readonly TreeDirectory[];
  /** Objects by the digest of their content; undefined for those that could not be read. */
  readonly #digests = new Map<string, string | undefined>();
  readonly #reader: LocalReader;
  #hashed = 0;

  /** @param commits whose trees are looked into, the likeliest first */
  constructor(repository: Repository, commits: readonly string[]) {
    this.#repository = repository;
    this.#reader = new LocalReader(repository);
    this.#trees = commits.map((commit) => TreeDirectory.load(repository, repository.readCommit(commit)));
  }

  async find(payload: Payload): Promise<LocalContent | undefined> {
    for (const path of storedPaths(payload.name)) {
      for (const tree of this.#trees) {
        const checksum = tree.lookup(path);
        if (typeof checksum !== 'string' || !fileOfSize(this.#repository, checksum, payload.size)) continue;
        if ((await this.#digestOf(checksum, payload.size)) === payload.digest) return { kind: 'file', checksum };
      }
    }
    return undefined;
  }

  async #digestOf(checksum: string, size: number): Promise<string | undefined> {
    if (this.#digests.has(checksum)) return this.#digests.get(checksum);
    const digest = await this.#hash(checksum, size);
    this.#digests.set(checksum, digest);
    return digest;
  }

  async #hash(checksum: string, size: number): Promise<string | undefined> {
    const hash = createHash('sha256');
    try {
      for (const piece of this.#reader.read({ kind: 'file', checksum }, size)) {
        hash.update(piece);
        this.#hashed += piece.length;
        if (this.#hashed < TURN_BYTES) continue;
        this.#hashed = 0;
        await setImmediate();
      }
    } catch (error) {
      // An object that cannot be read has nothing to offer; finding out why is the business of fsck.
      if (error instanceof PartialFetchUnusable) return undefined;
      throw error;
    }
    return hash.digest('hex');
  }
}

function storedPaths(name: string): readonly string[] {
  const path = name
    .split('/')
    .filter((part) => part !== '' && part !== '.')
    .join('/');
  for (const [from, to] of MOVED) {
    if (path.startsWith(from)) return to.map((prefix) => prefix + path.slice(from.length));
  }
  return [path];
}
