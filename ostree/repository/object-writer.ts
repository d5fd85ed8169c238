/**
 * Writes objects into the staging directory of a transaction. All calls are synchronous and stateless between
 * objects, so any number of worker threads can each have one for the same transaction: they exchange a handle.
 */
import { closeSync, fchmodSync, lchownSync, lstatSync, renameSync, rmSync, symlinkSync } from 'node:fs';
import { randomBytes } from 'node:crypto';
import { ioError, OstreeError } from '../errors.ts';
import { encodeDirectoryMetadata } from '../objects/dirmeta.ts';
import { metadataChecksum } from '../objects/commit.ts';
import { assertFileHeader, contentChecksum, isSymlink, type FileHeader } from '../objects/file-header.ts';
import { looseObjectPath, MAX_METADATA_BYTES, type MetadataType, type ObjectType } from '../objects/object-name.ts';
import { linkUnnamed, openUnnamed } from '../posix/unnamed-file.ts';
import { setLinkXattr, setXattr } from '../posix/xattr.ts';
import { archivedFile, archivedLink } from './archive-file.ts';
import type { RepositoryMode, Reserve } from './config.ts';
import {
  asRoot,
  assertExpected,
  BARE_USER_XATTR,
  FileWriter,
  setFileMetadata,
  writeAll,
  type FileWriterContext,
} from './file-writer.ts';
import { SpaceBudget } from './free-space.ts';
import { extensionOf } from './loose-objects.ts';

/** All that a thread needs to write into a transaction: plain data, to be passed as `workerData` or a message. */
export interface WriterHandle {
  readonly repositoryPath: string;
  readonly mode: RepositoryMode;
  readonly stagingPath: string;
  readonly reserve: Reserve;
}

const METADATA_MODE = 0o644;

export class ObjectWriter {
  readonly handle: WriterHandle;
  readonly #budget: SpaceBudget;
  readonly #context: FileWriterContext;

  /** For a transaction that is open, in this thread or another one, and stays so. */
  constructor(handle: WriterHandle) {
    this.handle = handle;
    this.#budget = new SpaceBudget(handle.repositoryPath, handle.reserve);
    this.#context = {
      mode: handle.mode,
      stagingPath: handle.stagingPath,
      euid: process.geteuid?.() ?? -1,
      egid: process.getegid?.() ?? -1,
      publish: (fd, checksum) => this.#publish(fd, 'file', checksum),
    };
  }

  /** Whether the object is in the repository or has been written in this transaction. */
  has(type: ObjectType, checksum: string): boolean {
    // In this order: while we look, a commit may be moving the object from the one place to the other.
    return exists(this.#stagedPath(type, checksum)) || this.#isInRepository(type, checksum);
  }

  #isInRepository(type: ObjectType, checksum: string): boolean {
    return exists(`${this.handle.repositoryPath}/objects/${looseObjectPath(checksum, this.#extension(type))}`);
  }

  /** Writes a metadata object and returns its checksum. Throws CorruptObject, and writes nothing, if it is not `expected`. */
  writeMetadata(type: MetadataType, bytes: Buffer, expected?: string): string {
    if (bytes.length > MAX_METADATA_BYTES) {
      throw new OstreeError('InvalidData', `A ${type} object has ${bytes.length} bytes: more than libostree reads`);
    }
    const checksum = metadataChecksum(bytes);
    assertExpected(type, checksum, expected);
    if (!this.has(type, checksum)) this.#write(type, checksum, bytes, (fd) => fchmodSync(fd, METADATA_MODE));
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
    if (this.#isInRepository('file', checksum)) return checksum;
    assertFileHeader(header);
    this.#budget.spend(content.length);
    const bytes = this.handle.mode === 'archive' ? archivedFile(header, content) : content;
    this.#write('file', checksum, bytes, (fd) => setFileMetadata(fd, header, this.#context));
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
      this.#write('file', checksum, archivedLink(header), (fd) => setFileMetadata(fd, header, this.#context));
      return checksum;
    }
    // A user cannot give a link an owner, so there it is a file that holds the target.
    this.#write('file', checksum, Buffer.from(`${header.symlinkTarget}\0`), (fd) => {
      setXattr(fd, BARE_USER_XATTR, encodeDirectoryMetadata(header));
      fchmodSync(fd, METADATA_MODE);
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
      renameSync(temporary, this.#stagedPath('file', checksum));
    } catch (error) {
      rmSync(temporary, { force: true });
      throw ioError(`write the object ${checksum}.file`, error);
    }
  }

  #write(type: ObjectType, checksum: string, bytes: Buffer, prepare: (fd: number) => void): void {
    try {
      const fd = openUnnamed(this.handle.stagingPath);
      try {
        writeAll(fd, bytes);
        prepare(fd);
        this.#publish(fd, type, checksum);
      } finally {
        closeSync(fd);
      }
    } catch (error) {
      throw ioError(`write the object ${checksum}.${type}`, error);
    }
  }

  #publish(fd: number, type: ObjectType, checksum: string): void {
    // Equal names mean equal objects: whoever came first has done the work.
    linkUnnamed(fd, this.#stagedPath(type, checksum));
  }

  #stagedPath(type: ObjectType, checksum: string): string {
    return stagedObjectPath(this.handle.stagingPath, this.#extension(type), checksum);
  }

  #extension(type: ObjectType): string {
    return extensionOf(type, this.handle.mode);
  }
}

/**
 * Where an object waits for its transaction to be committed: all of them in one directory, not by prefix as libostree
 * stages. It takes over what a killed writer leaves, and must find nothing of ours that the disk may not have.
 */
export function stagedObjectPath(stagingPath: string, extension: string, checksum: string): string {
  return `${stagingPath}/${checksum}.${extension}`;
}

function exists(path: string): boolean {
  try {
    return lstatSync(path, { throwIfNoEntry: false }) !== undefined;
  } catch (error) {
    throw ioError(`look for ${path}`, error);
  }
}
