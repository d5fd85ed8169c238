/**
 * Which objects a repository holds, for those who ask about thousands: each of its directories is read once instead of
 * looking for one object after the other, as soon as enough has been asked about it.
 */
import { ChecksumSet } from '../objects/checksum-set.ts';
import type { ObjectType } from '../objects/object-name.ts';
import { extensionOf, looseNames, OBJECT_PREFIXES } from './loose-objects.ts';
import type { Repository } from './repository.ts';

/** Questions about one directory that are answered by a look each: a small tree in a large repository has no more. */
const LOOKS = 8;
/** Names that are remembered, some 10 MB; for the rest of a larger repository it is a look each. */
const MAX_NAMES = 250_000;
const CHECKSUM_BYTES = 32;
/** Of a checksum in the names of a directory, which has the first two. */
const DIGITS = 62;

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
    this.#ask(Number.parseInt(checksum.slice(0, 2), 16));
    return this.#namesOf(type)?.has(checksum) === true || this.#repository.hasObject(type, checksum);
  }

  /** The same for the checksum of which the 32 bytes lie at `at`. */
  hasBytes(type: ObjectType, bytes: Buffer, at: number): boolean {
    this.#ask(bytes[at] ?? 0);
    if (this.#namesOf(type)?.hasBytes(bytes, at) === true) return true;
    return this.#repository.hasObject(type, bytes.toString('hex', at, at + CHECKSUM_BYTES));
  }

  #namesOf(type: ObjectType): ChecksumSet | undefined {
    return this.#names.get(extensionOf(type, this.#repository.mode));
  }

  #ask(prefix: number): void {
    const asked = (this.#asked[prefix] ?? 0) + 1;
    this.#asked[prefix] = asked;
    if (asked === LOOKS + 1) this.#read(OBJECT_PREFIXES[prefix] ?? '');
  }

  #read(prefix: string): void {
    if (this.#remembered >= MAX_NAMES) return;
    for (const name of looseNames(this.#repository.path, prefix)) {
      if (name[DIGITS] !== '.') continue;
      const extension = name.slice(DIGITS + 1);
      const known = this.#names.get(extension);
      const names = known ?? new ChecksumSet();
      if (known === undefined) this.#names.set(extension, names);
      if (names.addNamed(prefix, name)) this.#remembered++;
    }
  }
}
