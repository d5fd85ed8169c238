/**
 * Writes one content object as its bytes arrive. The checksum is known only at the end, so the file has no name until
 * then, and one that is never finished leaves nothing behind.
 */
import { closeSync, futimesSync, writeSync } from 'node:fs';
import type { Hash } from 'node:crypto';
import { ioError, OstreeError, systemErrorCode } from '../errors.ts';
import { encodeDirectoryMetadata } from '../objects/dirmeta.ts';
import { contentHash, S_IFREG, type FileHeader } from '../objects/file-header.ts';
import { setXattr } from '../posix/xattr.ts';
import { ArchiveEncoder } from './archive-file.ts';
import type { RepositoryMode } from './config.ts';
import type { NewFiles } from './new-files.ts';

/** In a bare-user repository this attribute holds what a file would have if its writer were root. */
export const BARE_USER_XATTR = 'user.ostreemeta';

/** Of all files whose owner and mode stand in their headers. */
const ARCHIVE_MODE = 0o644;

/** What a FileWriter needs of the transaction that it belongs to. */
export interface FileWriterContext {
  readonly mode: RepositoryMode;
  readonly stagingPath: string;
  readonly files: NewFiles;
  /** Gives the finished file its name; `checksum` is that of its content object. */
  publish(fd: number, checksum: string): void;
}

export class FileWriter implements Disposable {
  readonly #context: FileWriterContext;
  readonly #header: FileHeader;
  readonly #size: number;
  readonly #expected: string | undefined;
  readonly #hash: Hash;
  readonly #archive: ArchiveEncoder | undefined;
  #fd: number | undefined;
  #written = 0;

  constructor(context: FileWriterContext, header: FileHeader, size: number, expected: string | undefined) {
    this.#context = context;
    this.#header = header;
    this.#size = size;
    this.#expected = expected;
    this.#hash = contentHash(header);
    this.#archive = context.mode === 'archive' ? new ArchiveEncoder(header, size) : undefined;
    try {
      this.#fd = context.files.createUnnamed(modeOnDisk(header, context.mode));
      if (this.#archive !== undefined) writeAll(this.#fd, this.#archive.start());
    } catch (error) {
      this[Symbol.dispose]();
      throw ioError(`create a file in ${context.stagingPath}`, error);
    }
  }

  /** Appends bytes. Synchronous: for small files this is several times faster than the asynchronous calls. */
  write(chunk: Buffer): void {
    const fd = this.#open();
    this.#hash.update(chunk);
    this.#written += chunk.length;
    if (this.#written > this.#size) throw this.#sizeMismatch();
    try {
      if (this.#archive === undefined) writeAll(fd, chunk);
      else for (const piece of this.#archive.push(chunk)) writeAll(fd, piece);
    } catch (error) {
      throw ioError(`write an object in ${this.#context.stagingPath}`, error);
    }
  }

  /** Sets owner, mode and attributes, publishes the object in the transaction, and returns its checksum. */
  finish(): string {
    const fd = this.#open();
    if (this.#written !== this.#size) throw this.#sizeMismatch();
    const checksum = this.#hash.digest('hex');
    try {
      assertExpected('file', checksum, this.#expected);
      for (const piece of this.#archive?.finish() ?? []) writeAll(fd, piece);
      setFileMetadata(fd, this.#header, this.#context);
      this.#context.publish(fd, checksum);
    } catch (error) {
      throw ioError(`write the object ${checksum}`, error);
    } finally {
      this[Symbol.dispose]();
    }
    return checksum;
  }

  /** Discards the file unless it has been finished. */
  [Symbol.dispose](): void {
    const fd = this.#fd;
    this.#fd = undefined;
    if (fd !== undefined) closeSync(fd);
  }

  #open(): number {
    if (this.#fd === undefined) throw new OstreeError('Io', 'The file has already been finished or discarded');
    return this.#fd;
  }

  #sizeMismatch(): OstreeError {
    return new OstreeError('InvalidData', `A file of ${this.#size} bytes came with ${this.#written} bytes`);
  }
}

/** Throws CorruptObject if an object's bytes turned out to be another object than the one that was promised. */
export function assertExpected(type: string, checksum: string, expected: string | undefined): void {
  if (expected === undefined || checksum === expected) return;
  throw new OstreeError(
    'CorruptObject',
    `The object ${expected}.${type} came with the bytes of ${checksum}; fetch it again`,
  );
}

/** Writes the whole chunk, however many calls that takes. */
export function writeAll(fd: number, chunk: Buffer): void {
  let position = 0;
  while (position < chunk.length) position += writeSync(fd, chunk, position);
}

/** The mode of an object's file, without the type. */
export function modeOnDisk({ mode }: FileHeader, repositoryMode: RepositoryMode): number {
  if (repositoryMode === 'archive') return ARCHIVE_MODE;
  // The mode is only approximated, so that no setuid file of another owner comes into being.
  if (repositoryMode === 'bare-user') return (mode & 0o775) | 0o400;
  return mode & ~S_IFREG;
}

/** Gives an object's file, created with `modeOnDisk`, the owner, attributes and time that the repository's mode prescribes. */
export function setFileMetadata(
  fd: number,
  header: FileHeader,
  { mode: repositoryMode, files }: FileWriterContext,
): void {
  const mode = modeOnDisk(header, repositoryMode);
  if (repositoryMode === 'archive') {
    files.complete(fd, mode);
    return;
  }
  if (repositoryMode === 'bare-user') {
    setXattr(fd, BARE_USER_XATTR, encodeDirectoryMetadata(header));
    files.complete(fd, mode);
  } else {
    asRoot(header, () => {
      files.complete(fd, mode, header);
      // Behind the owner, a change of which clears capabilities.
      for (const { name, value } of header.xattrs) setXattr(fd, name, value);
    });
  }
  // Time is not part of an object; a fixed one keeps checkouts by hard link equal everywhere.
  futimesSync(fd, 0, 0);
}

/** Does what only root may do to a file of a bare repository, or says so and what else there is. */
export function asRoot({ uid, gid, xattrs }: FileHeader, work: () => void): void {
  try {
    work();
  } catch (error) {
    if (systemErrorCode(error) !== 'EPERM') throw error;
    const attributes = xattrs.length === 0 ? '' : ` and the attributes ${xattrs.map(({ name }) => name).join(', ')}`;
    throw new OstreeError(
      'PermissionDenied',
      `A repository of mode bare gives files their owner ${uid}:${gid}${attributes}, which this user may not do; ` +
        'run this as root and outside of a container, or use a repository of mode bare-user or archive',
      { cause: error },
    );
  }
}
