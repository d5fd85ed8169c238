/**
 * Finds objects by their names, which are their checksums: what has the name has the content. So nothing is read; that the
 * stream is right in the end is checked anyway.
 */
import { createHash } from 'node:crypto';
import { encodeXattrs } from '../../objects/xattrs.ts';
import type { Repository } from '../../repository/repository.ts';
import { ImportError } from '../errors.ts';
import { parseStorePath, type StoreEntry } from '../object-path.ts';
import { fileOfSize } from './stored-size.ts';
import type { LocalContent, LocalContentFinder } from './local-content.ts';
import type { Payload } from './toc.ts';

/** For layers that hold objects. */
export class ObjectFinder implements LocalContentFinder {
  readonly #repository: Repository;
  /** Attribute lists by digest: all files of an OS share some hundred of them. */
  readonly #xattrs = new Map<string, LocalContent>();

  constructor(repository: Repository) {
    this.#repository = repository;
  }

  find(payload: Payload): LocalContent | undefined {
    const entry = storeEntry(payload.name);
    switch (entry?.kind) {
      case 'file':
        return fileOfSize(this.#repository, entry.checksum, payload.size)
          ? { kind: 'file', checksum: entry.checksum }
          : undefined;
      case 'commit':
      case 'dirtree':
      case 'dirmeta':
        // Of a metadata object the digest of the content is the checksum.
        return entry.checksum === payload.digest && this.#repository.hasObject(entry.kind, entry.checksum)
          ? { kind: 'metadata', type: entry.kind, checksum: entry.checksum }
          : undefined;
      case 'xattrs-link':
        return this.#xattrs.get(payload.digest) ?? this.#xattrsOf(entry.checksum, payload.digest);
      default:
        return undefined;
    }
  }

  #xattrsOf(checksum: string, digest: string): LocalContent | undefined {
    if (!this.#repository.hasObject('file', checksum)) return undefined;
    using file = this.#repository.openFile(checksum);
    const bytes = encodeXattrs(file.header.xattrs);
    if (createHash('sha256').update(bytes).digest('hex') !== digest) return undefined;
    const local: LocalContent = { kind: 'bytes', bytes };
    this.#xattrs.set(digest, local);
    return local;
  }
}

function storeEntry(name: string): StoreEntry | undefined {
  try {
    return parseStorePath(name);
  } catch (error) {
    // A name that is wrong is refused when it is read in the tar stream; here it only means nothing.
    if (error instanceof ImportError) return undefined;
    throw error;
  }
}
