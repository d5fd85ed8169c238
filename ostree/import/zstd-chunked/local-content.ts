/** Content of a layer's files that need not be fetched, because the repository has it. */
import { closeSync, constants, openSync, readSync } from 'node:fs';
import type { MetadataType } from '../../objects/object-name.ts';
import type { Repository } from '../../repository/repository.ts';
import type { Payload } from './toc.ts';
import { PartialFetchUnusable } from './unusable.ts';

/** Where the content lies. */
export type LocalContent =
  | { readonly kind: 'file'; readonly checksum: string }
  | { readonly kind: 'metadata'; readonly type: MetadataType; readonly checksum: string }
  | { readonly kind: 'bytes'; readonly bytes: Buffer };

/** Looks for the content of one file of a layer. */
export interface LocalContentFinder {
  find(payload: Payload): Promise<LocalContent | undefined> | LocalContent | undefined;
}

const BUFFER_BYTES = 256 * 1024;

/** Reads what was found, one after the other, through memory of its own: a buffer for each would be most of the cost. */
export class LocalReader {
  readonly #repository: Repository;
  readonly #buffer = Buffer.allocUnsafeSlow(BUFFER_BYTES);

  constructor(repository: Repository) {
    this.#repository = repository;
  }

  /**
   * The content in pieces, each valid until the next is asked for.
   * @throws {PartialFetchUnusable} when it cannot be read any more, or has another size; OstreeError for a corrupt object.
   */
  *read(local: LocalContent, size: number): Generator<Buffer> {
    switch (local.kind) {
      case 'bytes':
        yield local.bytes;
        return;
      case 'metadata':
        yield this.#repository.readMetadata(local.type, local.checksum);
        return;
      case 'file':
        yield* this.#readFile(this.#repository.objectPath('file', local.checksum), size);
    }
  }

  /** In the modes that can be imported into, the file of a regular file is its content. */
  *#readFile(path: string, size: number): Generator<Buffer> {
    let fd: number | undefined;
    try {
      fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW);
      let seen = 0;
      for (let count = this.#readPiece(fd); count > 0; count = this.#readPiece(fd)) {
        seen += count;
        if (seen > size) break;
        yield this.#buffer.subarray(0, count);
      }
      if (seen !== size) throw new Error(`${path} has not ${size} bytes`);
    } catch (error) {
      throw new PartialFetchUnusable('a file that the repository had cannot be read', { cause: error });
    } finally {
      if (fd !== undefined) closeSync(fd);
    }
  }

  #readPiece(fd: number): number {
    return readSync(fd, this.#buffer, 0, BUFFER_BYTES, null);
  }
}
