/** Takes package databases out of the layers that carry a commit, as they stream by. Source: ostree-container format v1. */
import { ImportError } from '../import/errors.ts';
import { parseStorePath, type StoreEntry } from '../import/object-path.ts';
import type { TarConsumer } from '../import/tar-reader.ts';
import type { TarEntry } from '../import/tar-header.ts';
import { decodeCommit, metadataChecksum } from '../objects/commit.ts';
import { decodeDirtree } from '../objects/dirtree.ts';
import { TreeDirectory } from '../tree/tree-directory.ts';
import { databaseFilesIn } from './database-files.ts';
import { MAX_DATABASE_BYTES, tooLarge } from './installed-package.ts';

/** Directories of the largest systems have a tenth of that. */
const MAX_METADATA_BYTES = 256 * 1024 * 1024;

/** Feed it the layer of the commit first, then chunks as long as `isComplete` is false. */
export class CommitLayerFiles implements TarConsumer {
  readonly #directories = new Map<string, Buffer>();
  #metadataBytes = 0;
  #commit: Buffer | undefined;
  /** Paths by the checksum of what lies there; known once the first content comes, before which all directories came. */
  #wanted: Map<string, string[]> | undefined;
  #missing = new Set<string>();
  #databaseBytes = 0;
  #current: StoreEntry | undefined;
  #pieces: Buffer[] = [];
  /** Content of the files that were found, by path. */
  readonly files = new Map<string, Buffer>();

  /** Whether everything has been found that the commit has. */
  get isComplete(): boolean {
    this.#wanted ??= this.#findWanted();
    return this.#missing.size === 0;
  }

  entry(entry: TarEntry): void {
    this.#current = undefined;
    this.#pieces = [];
    if (entry.type !== 'file') return;
    const object = parseStorePath(entry.path);
    if (object === undefined) return;
    if (object.kind === 'commit' || object.kind === 'dirtree') {
      this.#metadataBytes += entry.size;
      if (this.#metadataBytes > MAX_METADATA_BYTES)
        throw new ImportError('InvalidLayer', 'its directories are too large');
      this.#current = object;
    } else if (object.kind === 'file') {
      this.#wanted ??= this.#findWanted();
      if (!this.#missing.has(object.checksum)) return;
      this.#databaseBytes += entry.size;
      if (this.#databaseBytes > MAX_DATABASE_BYTES) throw tooLarge(entry.path, `it has ${entry.size} bytes`);
      this.#current = object;
    }
  }

  data(bytes: Buffer): void {
    if (this.#current !== undefined) this.#pieces.push(Buffer.from(bytes));
  }

  entryEnd(): void {
    const object = this.#current;
    if (object === undefined) return;
    this.#current = undefined;
    const bytes = Buffer.concat(this.#pieces);
    if (object.kind === 'file') {
      for (const path of this.#wanted?.get(object.checksum) ?? []) this.files.set(path, bytes);
      this.#missing.delete(object.checksum);
      return;
    }
    if (metadataChecksum(bytes) !== object.checksum) {
      throw new ImportError('InvalidLayer', `the object ${object.checksum}.${object.kind} is not what its name says`);
    }
    if (object.kind === 'commit') this.#commit = bytes;
    else this.#directories.set(object.checksum, bytes);
  }

  #findWanted(): Map<string, string[]> {
    if (this.#commit === undefined) throw new ImportError('InvalidLayer', 'commit object not found');
    const root = TreeDirectory.load(
      { readDirtree: (checksum) => this.#readDirtree(checksum) },
      decodeCommit(this.#commit),
    );
    const wanted = new Map<string, string[]>();
    for (const [path, checksum] of databaseFilesIn(root)) {
      const paths = wanted.get(checksum);
      if (paths === undefined) wanted.set(checksum, [path]);
      else paths.push(path);
    }
    this.#missing = new Set(wanted.keys());
    return wanted;
  }

  #readDirtree(checksum: string): ReturnType<typeof decodeDirtree> {
    const bytes = this.#directories.get(checksum);
    if (bytes === undefined) throw new ImportError('InvalidLayer', `the directory object ${checksum} is missing`);
    return decodeDirtree(bytes);
  }
}
