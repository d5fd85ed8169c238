/**
 * Writes objects into the staging directory of a transaction. All calls are synchronous and stateless between
 * objects, so any number of worker threads can each have one for the same transaction: they exchange a handle.
 */
import { closeSync, existsSync, lchownSync, lstatSync, mkdirSync, renameSync, rmSync, symlinkSync } from 'node:fs';
import { randomBytes } from 'node:crypto';
import { ioError, OstreeError } from '../errors.ts';
import { encodeDirectoryMetadata } from '../objects/dirmeta.ts';
import { metadataChecksum } from '../objects/commit.ts';
import { assertFileHeader, contentChecksum, isSymlink, type FileHeader } from '../objects/file-header.ts';
import { looseObjectPath, MAX_METADATA_BYTES, type MetadataType, type ObjectType } from '../objects/object-name.ts';
import { linkUnnamed } from '../posix/unnamed-file.ts';
import { setLinkXattr, setXattr } from '../posix/xattr.ts';
import { archivedFile, archivedLink } from './archive-file.ts';
import type { RepositoryMode, Reserve } from './config.ts';
import {
  asRoot,
  assertExpected,
  BARE_USER_XATTR,
  FileWriter,
  modeOnDisk,
  setFileMetadata,
  writeAll,
  type FileWriterContext,
} from './file-writer.ts';
import { SpaceBudget } from './free-space.ts';
import { extensionOf } from './loose-objects.ts';
import { NewFiles } from './new-files.ts';
import { stagedDirectory, type StagedLayout, stagedObjectPath } from './staged-place.ts';

/** All that a thread needs to write into a transaction: plain data, to be passed as `workerData` or a message. */
export interface WriterHandle {
  readonly repositoryPath: string;
  readonly mode: RepositoryMode;
  readonly stagingPath: string;
  readonly layout: StagedLayout;
  /** Whether objects may be in the repository already, so that it is worth a look before each is written. */
  readonly looksFirst: boolean;
  readonly reserve: Reserve;
}

const METADATA_MODE = 0o644;

export class ObjectWriter {
  readonly handle: WriterHandle;
  readonly #onFile: (checksum: string) => void;
  readonly #budget: SpaceBudget;
  readonly #files: NewFiles;
  /** Those that have a directory among what is staged. */
  readonly #prefixes = new Set<string>();
  readonly #context: FileWriterContext;

  /**
   * For a transaction that is open, in this thread or another one, and stays so.
   *
   * @param onFile told of each file object that is complete and has its name among what is staged
   */
  constructor(handle: WriterHandle, onFile: (checksum: string) => void = () => undefined) {
    this.handle = handle;
    this.#onFile = onFile;
    this.#budget = new SpaceBudget(handle.repositoryPath, handle.reserve);
    this.#files = new NewFiles(handle.stagingPath);
    this.#context = {
      mode: handle.mode,
      stagingPath: handle.stagingPath,
      files: this.#files,
      // Equal names mean equal objects: whoever came first has done the work.
      publish: (fd, checksum) => {
        if (linkUnnamed(fd, this.#placeFor('file', checksum))) this.#onFile(checksum);
      },
    };
  }

  /** Whether the object is in the repository or has been written in this transaction. */
  has(type: ObjectType, checksum: string): boolean {
    // In this order: while we look, a commit may be moving the object from the one place to the other.
    return exists(this.#stagedPath(type, checksum)) || this.#isInRepository(type, checksum);
  }

  #isInRepository(type: ObjectType, checksum: string): boolean {
    return exists(this.#storedPath(type, checksum));
  }

  /** Writes a metadata object and returns its checksum. Throws CorruptObject, and writes nothing, if it is not `expected`. */
  writeMetadata(type: MetadataType, bytes: Buffer, expected?: string): string {
    if (bytes.length > MAX_METADATA_BYTES) {
      throw new OstreeError('InvalidData', `A ${type} object has ${bytes.length} bytes: more than libostree reads`);
    }
    const checksum = metadataChecksum(bytes);
    assertExpected(type, checksum, expected);
    // Not among those staged: there it is found out by writing.
    if (!this.handle.looksFirst || !this.#isInRepository(type, checksum)) this.#writeWithMode(type, checksum, bytes);
    return checksum;
  }

  /**
   * Begins a regular file of exactly `size` bytes, to be written in pieces; see `writeFile` for one that is at hand.
   * Throws NoSpace if it would eat into the repository's reserve; its `finish` throws CorruptObject, and the file is
   * discarded, if the checksum is not `expected`.
   */
  beginFile(header: FileHeader, size: number, expected?: string): FileWriter {
    assertFileHeader(header);
    if (isSymlink(header)) throw new OstreeError('InvalidData', 'a symbolic link has no content');
    this.#budget.spend(size);
    return new FileWriter(this.#context, header, size, expected);
  }

  /**
   * Writes a regular file whose content is at hand, or a symbolic link with none, unless the object is already there.
   * Returns its checksum. Throws CorruptObject, and writes nothing, if it is not `expected`.
   */
  writeFile(header: FileHeader, content: Buffer, expected?: string): string {
    if (isSymlink(header) && content.length === 0) return this.writeSymlink(header, expected);
    const checksum = contentChecksum(header, content);
    assertExpected('file', checksum, expected);
    // Few files of a layer are equal: to write one twice costs less than to look for each among those staged.
    if (this.handle.looksFirst && existsSync(this.#storedPath('file', checksum))) return checksum;
    assertFileHeader(header);
    this.#budget.spend(content.length);
    this.#writeWithHeader(checksum, this.handle.mode === 'archive' ? archivedFile(header, content) : content, header);
    return checksum;
  }

  /** Writes a symbolic link, unless the object is already there. Returns its checksum; `expected` as for `writeFile`. */
  writeSymlink(header: FileHeader, expected?: string): string {
    assertFileHeader(header);
    if (!isSymlink(header)) throw new OstreeError('InvalidData', 'a regular file is not a symbolic link');
    const checksum = contentChecksum(header, Buffer.alloc(0));
    assertExpected('file', checksum, expected);
    if (this.has('file', checksum)) return checksum;
    if (this.handle.mode === 'bare') {
      this.#writeLink(header, checksum);
      return checksum;
    }
    if (this.handle.mode === 'archive') {
      this.#writeWithHeader(checksum, archivedLink(header), header);
      return checksum;
    }
    // A user cannot give a link an owner, so there it is a file that holds the target.
    this.#write('file', checksum, Buffer.from(`${header.symlinkTarget}\0`), METADATA_MODE, (fd) => {
      setXattr(fd, BARE_USER_XATTR, encodeDirectoryMetadata(header));
      this.#files.complete(fd, METADATA_MODE);
    });
    return checksum;
  }

  #writeLink(header: FileHeader, checksum: string): void {
    // Links cannot be made without a name.
    const temporary = `${this.handle.stagingPath}/tmplink.${randomBytes(8).toString('hex')}`;
    try {
      symlinkSync(header.symlinkTarget, temporary);
      asRoot(header, () => {
        lchownSync(temporary, header.uid, header.gid);
        for (const { name, value } of header.xattrs) setLinkXattr(temporary, name, value);
      });
      renameSync(temporary, this.#placeFor('file', checksum));
      this.#onFile(checksum);
    } catch (error) {
      rmSync(temporary, { force: true });
      throw ioError(`write the object ${checksum}.file`, error);
    }
  }

  #writeWithMode(type: MetadataType, checksum: string, bytes: Buffer): void {
    this.#write(type, checksum, bytes, METADATA_MODE, (fd) => this.#files.complete(fd, METADATA_MODE));
  }

  #writeWithHeader(checksum: string, bytes: Buffer, header: FileHeader): void {
    const mode = modeOnDisk(header, this.handle.mode);
    this.#write('file', checksum, bytes, mode, (fd) => setFileMetadata(fd, header, this.#context));
  }

  /**
   * Writes an object under its name from the beginning: for small files that costs much less than to give it one at the end.
   * Whoever finds the name taken may find it half-written, by another thread; if that fails, so does the transaction.
   */
  #write(type: ObjectType, checksum: string, bytes: Buffer, mode: number, prepare: (fd: number) => void): void {
    try {
      const path = this.#placeFor(type, checksum);
      const fd = this.#files.create(path, mode);
      // Equal names mean equal objects.
      if (fd === undefined) return;
      try {
        writeAll(fd, bytes);
        prepare(fd);
      } catch (error) {
        rmSync(path, { force: true });
        throw error;
      } finally {
        closeSync(fd);
      }
      if (type === 'file') this.#onFile(checksum);
    } catch (error) {
      throw ioError(`write the object ${checksum}.${type}`, error);
    }
  }

  #storedPath(type: ObjectType, checksum: string): string {
    return `${this.handle.repositoryPath}/objects/${looseObjectPath(checksum, this.#extension(type))}`;
  }

  #stagedPath(type: ObjectType, checksum: string): string {
    return stagedObjectPath(this.handle, this.#extension(type), checksum);
  }

  /** Where an object may be written now: its directory is there. */
  #placeFor(type: ObjectType, checksum: string): string {
    const path = this.#stagedPath(type, checksum);
    if (this.handle.layout === 'together' || type === 'commit') return path;
    const prefix = checksum.slice(0, 2);
    if (!this.#prefixes.has(prefix)) {
      // By another thread, perhaps.
      mkdirSync(stagedDirectory(this.handle.stagingPath, prefix), { recursive: true, mode: 0o777 });
      this.#prefixes.add(prefix);
    }
    return path;
  }

  #extension(type: ObjectType): string {
    return extensionOf(type, this.handle.mode);
  }
}

function exists(path: string): boolean {
  try {
    return lstatSync(path, { throwIfNoEntry: false }) !== undefined;
  } catch (error) {
    throw ioError(`look for ${path}`, error);
  }
}
