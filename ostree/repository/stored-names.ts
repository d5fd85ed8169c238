/**
 * Which objects a repository holds, for those who ask about thousands: each of its directories is read once instead of
 * looking for one object after the other, as soon as enough has been asked about it.
 */
import { ChecksumSet } from '../objects/checksum-set.ts';
import type { ObjectType } from '../objects/object-name.ts';
import { extensionOf, listLooseObjects } from './loose-objects.ts';
import type { Repository } from './repository.ts';

/** Questions about one directory that are answered by a look each: a small tree in a large repository has no more. */
const LOOKS = 8;
/** Names that are remembered, some 10 MB; for the rest of a larger repository it is a look each. */
const MAX_NAMES = 250_000;

/** Use it under the repository's lock, so that nothing is deleted meanwhile. What is added meanwhile is found, too. */
export class StoredNames {
  readonly #repository: Repository;
  /** How often each directory was asked about. */
  readonly #asked = new Uint32Array(256);
  /** By extension. */
  readonly #names = new Map<string, ChecksumSet>();
  #remembered = 0;

  constructor(repository: Repository) {
    this.#repository = repository;
  }

  /** Throws what reading the repository's directories throws. */
  has(type: ObjectType, checksum: string): boolean {
    const prefix = Number.parseInt(checksum.slice(0, 2), 16);
    const asked = (this.#asked[prefix] ?? 0) + 1;
    this.#asked[prefix] = asked;
    if (asked === LOOKS + 1) this.#read(checksum.slice(0, 2));
    const names = this.#names.get(extensionOf(type, this.#repository.mode));
    return names?.has(checksum) === true || this.#repository.hasObject(type, checksum);
  }

  #read(prefix: string): void {
    if (this.#remembered >= MAX_NAMES) return;
    for (const { checksum, extension } of listLooseObjects(this.#repository.path, prefix)) {
      const known = this.#names.get(extension);
      const names = known ?? new ChecksumSet();
      if (known === undefined) this.#names.set(extension, names);
      names.add(checksum);
      this.#remembered++;
    }
  }
}
